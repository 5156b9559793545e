/** The enveloped bytes of the streaming protocols, and how each protocol says how a call ended. */
import { create, fromBinary, fromJson, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type Answer, AnswerSchema, OrderSchema } from "./schema.ts";
import type { Answered } from "./wire.ts";

export const proto = (order: MessageInitShape<typeof OrderSchema> = {}): Uint8Array =>
  toBinary(OrderSchema, create(OrderSchema, order));
export const json = (order: object = {}): Uint8Array => Buffer.from(JSON.stringify(order));

/** One envelope: flags, length, message. `length`: what the length says, if not the truth. */
export function envelope(message: Uint8Array, flags = 0, length = message.length): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags, 0);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
}

export interface Envelope {
  readonly flags: number;
  readonly data: Buffer;
}

/** Fails where bytes are left over. */
export function split(body: Buffer): Envelope[] {
  const found: Envelope[] = [];
  let at = 0;
  while (at < body.length) {
    const data = body.subarray(at + 5, at + 5 + body.readUInt32BE(at + 1));
    if (at + 5 + body.readUInt32BE(at + 1) > body.length) throw new Error("the last envelope is cut off");
    found.push({ flags: body.readUInt8(at), data });
    at += 5 + data.length;
  }
  return found;
}

/** How a call ended. */
export interface Outcome {
  /** As gRPC numbers them; 0: well. */
  readonly code: number;
  readonly message: string;
  /** Messages of the answer, decoded. */
  readonly answers: readonly Answer[];
  /** Trailing metadata, names in lower case. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** gRPC's numbers of Connect's names. */
const names =
  "canceled unknown invalid_argument deadline_exceeded not_found already_exists permission_denied resource_exhausted failed_precondition aborted out_of_range unimplemented internal unavailable data_loss unauthenticated".split(
    " ",
  );

interface ConnectErrorJson {
  code: string;
  message?: string;
  details?: { type: string; value: string; debug?: unknown }[];
}

export function outcomeOf(answered: Answered): Outcome {
  const type = `${answered.headers["content-type"]}`;
  const decode = (data: Buffer) =>
    type.includes("json")
      ? fromJson(AnswerSchema, JSON.parse(data.toString()))
      : fromBinary(AnswerSchema, data);
  if (type.startsWith("application/grpc-web")) {
    const envelopes = split(answered.body);
    const end = envelopes.at(-1);
    const isEnded = end !== undefined && (end.flags & 0x80) !== 0;
    const metadata = isEnded ? parseTrailers(end.data) : plain(answered.headers);
    const answers = (isEnded ? envelopes.slice(0, -1) : envelopes).map(({ data }) => decode(data));
    return { ...grpcStatus(metadata), answers, metadata };
  }
  if (type.startsWith("application/grpc")) {
    const metadata = plain("grpc-status" in answered.trailers ? answered.trailers : answered.headers);
    return {
      ...grpcStatus(metadata),
      answers: split(answered.body).map(({ data }) => decode(data)),
      metadata,
    };
  }
  if (type.startsWith("application/connect+")) {
    const envelopes = split(answered.body);
    const end = envelopes.at(-1);
    if (end === undefined || (end.flags & 2) === 0) throw new Error("no end of stream");
    const { error, metadata = {} } = JSON.parse(end.data.toString()) as {
      error?: ConnectErrorJson;
      metadata?: Record<string, string[]>;
    };
    return {
      ...connectStatus(error),
      answers: envelopes.slice(0, -1).map(({ data }) => decode(data)),
      metadata: Object.fromEntries(
        Object.entries(metadata).map(([name, values]) => [name.toLowerCase(), values.join(", ")]),
      ),
    };
  }
  if (answered.status === 200)
    return { code: 0, message: "", answers: [decode(answered.body)], metadata: {} };
  return {
    ...connectStatus(JSON.parse(answered.body.toString()) as ConnectErrorJson),
    answers: [],
    metadata: plain(answered.headers),
  };
}

function connectStatus(error: ConnectErrorJson | undefined): { code: number; message: string } {
  if (error === undefined) return { code: 0, message: "" };
  const code = names.indexOf(error.code) + 1;
  if (code === 0) throw new Error(`${error.code} is no code of Connect`);
  return { code, message: error.message ?? "" };
}

function grpcStatus(metadata: Record<string, string>): { code: number; message: string } {
  const code = metadata["grpc-status"];
  if (code === undefined || !/^\d+$/.test(code))
    throw new Error(`no grpc-status, found ${JSON.stringify(metadata)}`);
  return { code: Number(code), message: decodeURIComponent(metadata["grpc-message"] ?? "") };
}

function parseTrailers(data: Buffer): Record<string, string> {
  const lines = data
    .toString("latin1")
    .split("\r\n")
    .filter((line) => line !== "");
  return Object.fromEntries(
    lines.map((line) => [
      line.slice(0, line.indexOf(":")).toLowerCase(),
      line.slice(line.indexOf(":") + 1).trim(),
    ]),
  );
}

const plain = (fields: NodeJS.Dict<string | string[]>): Record<string, string> =>
  Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, `${value}`]));
