/**
 * Plain `curl` and the Connect protocol in JSON: one message in the body for an answer in the body; envelopes for streams,
 * which need only somebody to write and read five bytes before each message.
 */
import { endOfStream, envelope, openEnvelopes } from "../connect-envelopes.ts";
import { callOf, type Driver, fromConnectError, type Json, type Outcome, ok, type Rpc } from "../driver.ts";
import { HttpAnswer } from "../http-answer.ts";
import { runProgram } from "../processes.ts";

export type CurlHttp = "1.1" | "2";

export const curlCommand = (http: CurlHttp, credential: string | undefined, ...args: string[]) =>
  [
    "curl",
    "--silent",
    "--show-error",
    "--no-buffer",
    "--include",
    http === "2" ? "--http2-prior-knowledge" : "--http1.1",
    ...(credential === undefined ? [] : ["-H", `Authorization: Bearer ${credential}`]),
    ...args,
  ] as const satisfies [string, ...string[]];

export function openCurl(url: string, http: CurlHttp): Driver {
  return {
    call: (rpc, requests, credential) =>
      callOf((messages, signal) => {
        const isStream = streaming.has(rpc);
        const type = `Content-Type: application/${isStream ? "connect+json" : "json"}`;
        const command = curlCommand(http, credential, "-H", type, "--data-binary", "@-", `${url}/${rpc}`);
        return isStream
          ? stream(command, http, requests, messages, signal)
          : unary(command, http, requests[0] ?? {}, messages, signal);
      }),
    async close() {},
  };
}

const streaming: ReadonlySet<Rpc> = new Set([
  "tributary.v1.TaskStreamService/PublishTaskEvents",
  "tributary.v1.EventStreamService/StreamWorkflow",
  "tributary.v1.EventStreamService/StreamWorkflowConsolidated",
  "tributary.v1.EventStreamService/StreamTask",
]);

type Command = ReturnType<typeof curlCommand>;

async function unary(
  command: Command,
  http: CurlHttp,
  request: Json,
  messages: Json[],
  signal: AbortSignal,
): Promise<Outcome> {
  const answer = new HttpAnswer();
  const ended = await runProgram(command, JSON.stringify(request), (bytes) => answer.push(bytes), signal);
  assertAnswered(answer, http, ended);
  const body: Json = JSON.parse(answer.body.toString());
  if (answer.status !== 200) return fromConnectError(body);
  messages.push(body);
  return ok;
}

async function stream(
  command: Command,
  http: CurlHttp,
  requests: readonly Json[],
  messages: Json[],
  signal: AbortSignal,
): Promise<Outcome> {
  const answer = new HttpAnswer();
  let end: Json | undefined;
  const input = Buffer.concat(requests.map((request) => envelope(JSON.stringify(request))));
  const ended = await runProgram(
    command,
    input,
    (bytes) => {
      answer.push(bytes);
      if (answer.status !== 200) return;
      const { envelopes, rest } = openEnvelopes(answer.body);
      answer.body = rest;
      for (const { flags, content } of envelopes) {
        if (flags === endOfStream) end = JSON.parse(content);
        else messages.push(JSON.parse(content));
      }
    },
    signal,
  );
  assertAnswered(answer, http, ended);
  if (answer.status !== 200) return fromConnectError(JSON.parse(answer.body.toString()));
  if (end === undefined || answer.body.length > 0)
    throw new Error(`no end of the stream; left: ${answer.body}`);
  return end["error"] === undefined ? ok : fromConnectError(end["error"] as Json);
}

/** It really spoke the version of HTTP that this is about. */
export function assertAnswered(
  answer: HttpAnswer,
  http: CurlHttp,
  ended: { status: unknown; stderr: string },
): void {
  if (ended.status !== 0) throw new Error(`curl ended with ${ended.status}: ${ended.stderr}`);
  if (answer.version !== `HTTP/${http}`) throw new Error(`expected HTTP/${http}, found ${answer.version}`);
}
