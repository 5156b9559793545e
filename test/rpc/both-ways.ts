/**
 * The same call made twice: once plain, so that it is answered directly, and once with a query behind its path, which only Connect
 * takes. Which of the two answered shows in the encoding that Connect offers for its answer, though it uses none.
 */
import { request as http1 } from "node:http";
import { connect as http2 } from "node:http2";
import { expect } from "vitest";

export interface Server {
  readonly url: string;
  /** An API key, unless a call has a credential of its own. */
  readonly key: string;
}

export interface Answer {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
  readonly trailers: Readonly<Record<string, unknown>>;
}

export interface Way {
  readonly version: 1 | 2;
  readonly type: string;
  readonly accepts: string;
  /** Names the encoding that Connect would use; undefined: it does not say. */
  readonly offers: string | undefined;
  readonly more: Readonly<Record<string, string>>;
  /** Messages have no envelope. */
  readonly bare?: true;
}
const grpc = { accepts: "grpc-accept-encoding", offers: "grpc-encoding", more: { te: "trailers" } };
const connect = { more: { "connect-protocol-version": "1" } };
const stream = { ...connect, accepts: "connect-accept-encoding", offers: "connect-content-encoding" };
const unary = { ...connect, accepts: "accept-encoding", offers: undefined, bare: true } as const;
const ofGrpc: readonly (readonly [string, Way])[] = [
  ["gRPC", { ...grpc, version: 2, type: "application/grpc" }],
  ["gRPC, named", { ...grpc, version: 2, type: "application/grpc+proto" }],
  ["gRPC-Web, HTTP/2", { ...grpc, version: 2, type: "application/grpc-web+proto" }],
  ["gRPC-Web, HTTP/1.1", { ...grpc, version: 1, type: "application/grpc-web+proto" }],
];
export const ofStreams: readonly (readonly [string, Way])[] = [
  ...ofGrpc,
  ["Connect, HTTP/2", { ...stream, version: 2, type: "application/connect+proto" }],
  ["Connect, HTTP/1.1", { ...stream, version: 1, type: "application/connect+proto" }],
];
export const ofUnary: readonly (readonly [string, Way])[] = [
  ...ofGrpc,
  ["Connect, HTTP/2", { ...unary, version: 2, type: "application/proto" }],
  ["Connect, HTTP/1.1", { ...unary, version: 1, type: "application/proto" }],
];

export const envelope = (message: Uint8Array, { flags = 0, size = message.byteLength } = {}) => {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(size, 1);
  return Buffer.concat([head, message]);
};

export interface Case {
  readonly method?: string;
  /** Pieces are sent one by one. */
  readonly body: (way: Way) => Body | Promise<Body>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Connect answers the plain call too. */
  readonly isOdd?: boolean;
  /** The input does not end. */
  readonly staysOpen?: boolean;
}

type Body = Buffer | readonly Buffer[];

/** Sends the pieces; each is on its way before the next is given. */
async function send(
  stream: { write(piece: Buffer, done: () => void): boolean; end(): unknown },
  body: Body,
  staysOpen: boolean,
): Promise<void> {
  for (const piece of [body].flat())
    await new Promise<void>((resolve) => stream.write(piece, () => resolve()));
  if (!staysOpen) stream.end();
}

const sessions = new Map<string, ReturnType<typeof http2>>();

export function closeSessions(): void {
  for (const session of sessions.values()) session.close();
  sessions.clear();
}

function overHttp2(
  url: string,
  headers: Record<string, string>,
  body: Body,
  staysOpen: boolean,
): Promise<Answer> {
  let session = sessions.get(url);
  if (session === undefined) {
    session = http2(url, { maxSessionMemory: 100 }); // else the client refuses its own large messages
    sessions.set(url, session);
  }
  const stream = session.request({ ":method": "POST", ...headers });
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let head: Record<string, unknown> = {};
    let trailers = {};
    stream.on("response", (found) => {
      head = { ...found };
    });
    stream.on("trailers", (found) => {
      trailers = { ...found };
    });
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      if (staysOpen) stream.end();
      resolve({
        status: head[":status"] as number,
        headers: head,
        body: Buffer.concat(chunks).toString("latin1"),
        trailers,
      });
    });
    stream.on("error", reject);
    void send(stream, body, staysOpen);
  });
}

function overHttp1(
  url: string,
  { ":path": path = "", ...headers }: Record<string, string>,
  body: Body,
  staysOpen: boolean,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sending = http1(`${url}${path}`, { method: "POST", headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => {
        if (staysOpen) sending.end();
        resolve({
          status: response.statusCode,
          headers: response.headers,
          body: Buffer.concat(chunks).toString("latin1"),
          trailers: response.trailers,
        });
      });
    });
    sending.on("error", reject);
    if (!staysOpen && body instanceof Buffer) sending.end(body);
    else void send(sending, body, staysOpen);
  });
}

export async function call(
  { url, key }: Server,
  way: Way,
  path: string,
  { body, headers: own, staysOpen = false }: Case,
): Promise<Answer> {
  const headers: Record<string, string> = {
    ":path": path,
    "content-type": way.type,
    authorization: `Bearer ${key}`,
    "x-request-id": "of-the-test",
    [way.accepts]: "gzip",
    ...way.more,
    ...own,
  };
  if (headers["authorization"] === "") delete headers["authorization"];
  const made = await body(way);
  return (way.version === 2 ? overHttp2 : overHttp1)(url, headers, made, staysOpen);
}

/** Who answered, and the answer without what may differ. */
export function judge({ headers, ...answer }: Answer, { offers }: Way) {
  const { date: _, [offers ?? ""]: encoding, ...rest } = headers;
  return { byConnect: encoding !== undefined, answer: { ...answer, headers: rest } };
}

/** `mask`: takes out of an answer what differs from call to call. Returns the plain answer. */
export async function compare(
  server: Server,
  way: Way,
  path: string,
  one: Case,
  mask: (answer: Answer) => unknown = (answer) => answer,
): Promise<Answer> {
  const plain = judge(await call(server, way, path, one), way);
  const other = judge(await call(server, way, `${path}?connect`, one), way);
  expect(mask(plain.answer)).toEqual(mask(other.answer));
  if (way.offers !== undefined) {
    expect([plain.byConnect, other.byConnect]).toEqual([one.isOdd === true, true]);
  }
  return plain.answer;
}
