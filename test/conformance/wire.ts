/**
 * Requests made byte by byte, without a Connect client, and a reader of their answers that is no part of Connect either:
 * what the server writes is judged by the protocols' texts, not by the library that wrote it.
 */
import { once } from "node:events";
import {
  Agent,
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
} from "node:http";
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { authorization } from "./stack.ts";

export interface Asked {
  readonly http: "1.1" | "2";
  readonly method?: string;
  readonly path: string;
  /** undefined: this field of the defaults is left out. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** undefined: the request has no end yet. */
  readonly body: Uint8Array | undefined;
}

export interface Answered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly body: Buffer;
}

const path = (method: string) => `/tributary.conformance.v1.DrillService/${method}`;
export const paths = {
  ask: path("Ask"),
  look: path("Look"),
  collect: path("Collect"),
  recite: path("Recite"),
  converse: path("Converse"),
  missing: path("Missing"),
};

/** One request, read to its end. */
export async function exchange(url: string, asked: Asked): Promise<Answered> {
  const call = begin(url, asked);
  try {
    return await call.answered;
  } finally {
    call.close();
  }
}

export interface Call {
  /** Resolves when status and headers are there. */
  readonly head: Promise<Pick<Answered, "status" | "headers">>;
  /** What has come of the body. */
  readonly chunks: readonly Buffer[];
  /** Resolves at the end of the answer. */
  readonly answered: Promise<Answered>;
  write(bytes: Uint8Array): void;
  end(): void;
  /** Breaks the call off: on HTTP/2 with this code, on HTTP/1.1 by ending the connection. */
  abort(code?: number): void;
  /** Gives up the connection. */
  close(): void;
}

export function begin(url: string, asked: Asked): Call {
  const headers = Object.fromEntries(
    Object.entries({ authorization, ...asked.headers }).filter(([, value]) => value !== undefined),
  ) as Record<string, string | string[]>;
  const call = asked.http === "2" ? beginHttp2(url, asked, headers) : beginHttp1(url, asked, headers);
  call.answered.catch(() => {}); // whoever waits for it is told
  call.head.catch(() => {});
  return call;
}

type Head = Record<string, string | string[]>;

function beginHttp1(url: string, { method = "POST", path, body }: Asked, headers: Head): Call {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const outgoing = request(`${url}${path}`, { agent, method, headers });
  outgoing.on("error", () => {});
  if (body === undefined) outgoing.flushHeaders();
  else outgoing.end(body);
  const chunks: Buffer[] = [];
  const incoming = once(outgoing, "response").then(([response]) => response as IncomingMessage);
  return {
    chunks,
    head: incoming.then(({ statusCode = 0, headers }) => ({ status: statusCode, headers })),
    answered: incoming.then(async (response) => {
      response.on("error", () => {});
      for await (const chunk of response) chunks.push(chunk as Buffer);
      return {
        status: response.statusCode ?? 0,
        headers: response.headers,
        trailers: response.trailers as IncomingHttpHeaders,
        body: Buffer.concat(chunks),
      };
    }),
    ...ways(outgoing),
    abort: () => outgoing.destroy(),
    close: () => agent.destroy(),
  };
}

function beginHttp2(url: string, { method = "POST", path, body }: Asked, headers: Head): Call {
  const session: ClientHttp2Session = connect(url);
  session.on("error", () => {});
  const stream = session.request(
    { ":method": method, ":path": path, ...headers },
    { endStream: body !== undefined && body.length === 0 },
  );
  stream.on("error", () => {});
  if (body !== undefined && body.length > 0) stream.end(body);
  const chunks: Buffer[] = [];
  let trailers: IncomingHttpHeaders = {};
  stream.on("trailers", (fields) => {
    trailers = fields;
  });
  const head = once(stream, "response").then(([fields]) => {
    const { ":status": status, ...headers } = fields as IncomingHttpHeaders & { ":status": number };
    return { status, headers };
  });
  return {
    head,
    chunks,
    answered: head.then(async (answer) => {
      for await (const chunk of stream) chunks.push(chunk as Buffer);
      return { ...answer, trailers, body: Buffer.concat(chunks) };
    }),
    ...ways(stream),
    abort: (code = 8) => stream.close(code),
    close: () => session.destroy(),
  };
}

const ways = (outgoing: ClientRequest | ClientHttp2Stream) => ({
  write: (bytes: Uint8Array) => void outgoing.write(bytes),
  end: () => void outgoing.end(),
});
