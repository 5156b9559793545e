/** Is what came a proper answer? A code that blames the caller, or an answer that can be read; never a bug of the server. */
import { type DescMethod, fromBinary, fromJsonString, type Message } from "@bufbuild/protobuf";
import { edgeLimits } from "../../server/http/edge-limits.ts";
import { isExpected } from "./expected.ts";
import type { CallInput, Input } from "./input.ts";
import type { Outcome } from "./send.ts";
import { rpcTargets } from "./targets.ts";

export interface Verdict {
  /** As "OK", "invalid_argument", "HTTP 405", "live", "left", "closed". */
  readonly code: string;
  /** What is wrong; undefined: nothing. */
  readonly problem?: string;
  /** The messages of an answer that can be read. */
  readonly answers?: readonly Message[];
}

const names =
  "ok canceled unknown invalid_argument deadline_exceeded not_found already_exists permission_denied resource_exhausted failed_precondition aborted out_of_range unimplemented internal unavailable data_loss unauthenticated".split(
    " ",
  );
/** Those that say that the server is at fault. */
const faults = new Set(["unknown", "internal", "data_loss", "unavailable"]);
/** Statuses of answers that carry no code of an RPC. */
const statuses = new Set([
  200, 204, 400, 401, 403, 404, 405, 408, 409, 411, 412, 413, 414, 415, 416, 417, 426, 429, 431, 499, 501,
  504, 505,
]);

const methods = new Map(rpcTargets.map(({ path, method }) => [path, method]));

export function judge(input: Input, outcome: Outcome): Verdict {
  if (outcome.kind === "hang") return { code: "hang", problem: `hang: ${outcome.why}` };
  if (input.kind === "raw") return judgeRaw(outcome, input.mostAnswers);
  if (outcome.kind === "left" && outcome.status === undefined) return { code: "left" };
  if (outcome.kind === "closed") {
    // A request that is not complete, or not HTTP, may be ended without an answer.
    if (input.finish !== "end" || isOddForHttp(input, outcome) || isOddForHttp2(input, outcome.why ?? ""))
      return { code: "closed" };
    return { code: "closed", problem: `closed: ${outcome.why}` };
  }
  try {
    const verdict = read(input, outcome);
    return verdict.problem !== undefined && isExpected(verdict.problem) ? { code: verdict.code } : verdict;
  } catch (error) {
    return { code: "unreadable", problem: `the answer cannot be read: ${(error as Error).message}` };
  }
}

function judgeRaw({ body, kind }: Outcome, mostAnswers = Number.POSITIVE_INFINITY): Verdict {
  const found = [...body.toString("latin1").matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) =>
    Number(status),
  );
  for (const status of found) {
    if (status !== 100 && !statuses.has(status)) return { code: `HTTP ${status}`, problem: `HTTP ${status}` };
  }
  if (found.length > mostAnswers)
    return { code: "smuggled", problem: `${found.length} answers: ${found.join()}` };
  return { code: found[0] === undefined ? kind : `HTTP ${found[0]}` };
}

/** Node's client and server refuse some heads before there is a request: what is no path, and what is too long to be read. */
const isOddForHttp2 = ({ path, headers }: CallInput, why: string): boolean =>
  (why.includes("PROTOCOL_ERROR") && /[^\w\-.~:/?#[\]@!$&'()*+,;=%]|^\*/.test(path)) ||
  (why.includes("ENHANCE_YOUR_CALM") &&
    path.length + JSON.stringify(headers).length > edgeLimits.headBytes / 2);

const isOddForHttp = ({ headers, verb }: CallInput, { why = "" }: Outcome): boolean =>
  verb === "CONNECT" ||
  (Object.values(headers).some((value) => value.length > 3000) && /ECONNRESET|EPIPE|closed/.test(why));

function read(input: CallInput, outcome: Outcome): Verdict {
  const { status = 0, headers = {}, body } = outcome;
  const ended = outcome.kind === "answered";
  const type = `${headers["content-type"] ?? ""}`;
  const method = methods.get(input.path.split("?")[0] ?? "");
  if (!statuses.has(status)) return fault(`HTTP ${status}`, `HTTP ${status} ${body.subarray(0, 300)}`);
  if (type.startsWith("application/grpc"))
    return grpc(outcome, ended, method, type.startsWith("application/grpc-web"));
  if (type.startsWith("application/connect+")) return connectStream(body, ended, method, type);
  if (status !== 200) return connectError(status, type, body);
  if (!ended) return { code: "live" };
  if (method !== undefined && input.verb === "POST")
    return { code: "OK", answers: [decode(method, body, type)] };
  return { code: "OK" };
}

function connectError(status: number, type: string, body: Buffer): Verdict {
  if (!type.includes("json") || body.length === 0) return { code: `HTTP ${status}` };
  const { code, message } = JSON.parse(body.toString()) as { code?: string; message?: string };
  if (code === undefined || !names.includes(code)) return fault("?", `${code} is no code`);
  // What is no call has no code of its own.
  if (faults.has(code) && !(code === "unknown" && (status === 405 || status === 415)))
    return fault(code, `${code}: ${message}`);
  return textOf(code, message);
}

/** Trailers are headers: many clients take no more than 8 KiB. */
const longestText = 2048;

function textOf(code: string, message = "", inTrailers = false): Verdict {
  if (inTrailers && message.length > longestText) {
    return fault(code, `a text of ${message.length} characters: ${message.slice(0, 200)}`);
  }
  return { code };
}

function decode(method: DescMethod, bytes: Uint8Array, type: string): Message {
  return type.includes("json")
    ? fromJsonString(method.output, Buffer.from(bytes).toString())
    : fromBinary(method.output, bytes);
}

interface Enveloped {
  readonly flags: number;
  readonly data: Buffer;
}

function split(body: Buffer, ended: boolean): Enveloped[] {
  const envelopes: Enveloped[] = [];
  let at = 0;
  while (body.length - at >= 5) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    if (end > body.length) break;
    envelopes.push({ flags: body[at] ?? 0, data: body.subarray(at + 5, end) });
    at = end;
  }
  if (ended && at !== body.length) throw new Error(`${body.length - at} bytes after the last message`);
  return envelopes;
}

function connectStream(body: Buffer, ended: boolean, method: DescMethod | undefined, type: string): Verdict {
  const envelopes = split(body, ended);
  const end = envelopes.find(({ flags }) => (flags & 2) !== 0);
  if (end === undefined) {
    if (ended) return fault("none", "a stream without an end");
    return { code: "live", answers: decodeAll(envelopes, method, type) };
  }
  const { error } = JSON.parse(end.data.toString()) as { error?: { code: string; message?: string } };
  if (error === undefined) return { code: "OK", answers: decodeAll(envelopes.slice(0, -1), method, type) };
  if (!names.includes(error.code)) return fault("?", `${error.code} is no code`);
  return faults.has(error.code)
    ? fault(error.code, `${error.code}: ${error.message}`)
    : textOf(error.code, error.message);
}

const decodeAll = (
  envelopes: readonly Enveloped[],
  method: DescMethod | undefined,
  type: string,
): Message[] => (method === undefined ? [] : envelopes.map(({ data }) => decode(method, data, type)));

function grpc(outcome: Outcome, ended: boolean, method: DescMethod | undefined, web: boolean): Verdict {
  const { headers = {}, trailers = {}, body } = outcome;
  const type = `${headers["content-type"]}`;
  const envelopes = split(body, ended);
  let fields: Record<string, unknown> = { ...headers, ...trailers };
  const end = web ? envelopes.find(({ flags }) => (flags & 0x80) !== 0) : undefined;
  if (end !== undefined) {
    fields = Object.fromEntries(
      end.data
        .toString("latin1")
        .split("\r\n")
        .filter((line) => line !== "")
        .map((line) => [
          line.slice(0, line.indexOf(":")).toLowerCase(),
          line.slice(line.indexOf(":") + 1).trim(),
        ]),
    );
  }
  const status = fields["grpc-status"];
  if (status === undefined) {
    if (ended)
      return outcome.status === 200
        ? fault("none", "200 without grpc-status")
        : { code: `HTTP ${outcome.status}` };
    return { code: "live", answers: decodeAll(envelopes, method, type) };
  }
  const code = names[Number(status)];
  if (code === undefined) return fault("?", `grpc-status ${status}`);
  const message = decodeURIComponent(`${fields["grpc-message"] ?? ""}`);
  if (code === "ok") {
    const answers = decodeAll(
      envelopes.filter((each) => each !== end),
      method,
      type,
    );
    if (ended && method !== undefined && method.methodKind === "unary" && answers.length !== 1)
      return fault("OK", `${answers.length} answers to a unary call`);
    return { code: "OK", answers };
  }
  return faults.has(code) ? fault(code, `${code}: ${message}`) : textOf(code, message, !web);
}

const fault = (code: string, problem: string): Verdict => ({ code, problem });
