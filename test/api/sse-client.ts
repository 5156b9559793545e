/** Server-Sent Events as bytes on HTTP/1.1 and HTTP/2, without an EventSource's own ideas. */
import { type EventEmitter, once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import type { Readable } from "node:stream";
import { expect } from "vitest";
import { until } from "../support/until.ts";

/** What stands between two empty lines. */
export interface Frame {
  event?: string;
  id?: string;
  data?: string;
  retry?: string;
  comment?: string;
}

export class SseResponse implements AsyncDisposable {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** When the server ended the body; rejects when it broke. */
  readonly finished: Promise<void>;
  readonly #destroy: () => void;
  #text = "";

  constructor(
    status: number,
    headers: Readonly<Record<string, string | string[] | undefined>>,
    body: Readable,
    destroy: () => void,
  ) {
    this.status = status;
    this.headers = headers;
    this.#destroy = destroy;
    body.setEncoding("utf8");
    body.on("data", (text: string) => {
      this.#text += text;
    });
    this.finished = once(body, "end").then(destroy);
    this.finished.catch(() => {});
  }

  get text(): string {
    return this.#text;
  }

  get frames(): Frame[] {
    const blocks = this.#text.split("\n\n");
    blocks.pop(); // not complete, or empty
    return blocks.map(parse);
  }

  /** Frames with an event name. */
  get events(): Frame[] {
    return this.frames.filter((frame) => frame.event !== undefined);
  }

  get names(): string[] {
    return this.events.map((frame) => frame.event ?? "");
  }

  /** Ids of events, not those of gap and end. */
  get ids(): number[] {
    return this.events
      .filter((frame) => !["open", "gap", "closing", "end"].includes(frame.event ?? ""))
      .map((frame) => Number(frame.id));
  }

  until(assertions: () => void, timeoutMs?: number): Promise<void> {
    return until(assertions, timeoutMs);
  }

  /** Waits for the end, for less than a keep-alive's interval. */
  async end(): Promise<this> {
    let over = false;
    this.finished.then(
      () => {
        over = true;
      },
      () => {
        over = true;
      },
    );
    await until(() => expect(over, "ended").toBe(true), 8000);
    await this.finished;
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#destroy();
  }
}

function parse(block: string): Frame {
  const frame: Frame = {};
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    const name = colon === 0 ? "comment" : line.slice(0, colon === -1 ? undefined : colon);
    const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (!["event", "id", "data", "retry", "comment"].includes(name)) throw new Error(`line: ${line}`);
    const key = name as keyof Frame;
    if (frame[key] !== undefined && key !== "comment") throw new Error(`two lines of ${name}: ${block}`);
    frame[key] = value;
  }
  return frame;
}

export interface SseRequest {
  method?: string;
  headers?: Record<string, string>;
}

/** Headers come at once or, for a server that holds them back, not at all. */
function answer(request: EventEmitter & { destroy(): unknown }): Promise<unknown[]> {
  return once(request, "response", { signal: AbortSignal.timeout(8000) }).catch((error: unknown) => {
    request.on("error", () => {});
    request.destroy();
    throw new Error("no answer within 8 s", { cause: error });
  });
}

/** Over HTTP/1.1, on a connection of its own. */
export async function sse(
  url: string,
  { method = "GET", headers = {} }: SseRequest = {},
): Promise<SseResponse> {
  const request = http.request(url, { method, headers, agent: false });
  request.end();
  const [response] = (await answer(request)) as [http.IncomingMessage];
  request.on("error", () => {});
  return new SseResponse(response.statusCode ?? 0, response.headers, response, () => request.destroy());
}

/** Over HTTP/2 without TLS, by prior knowledge. */
export async function sseOverHttp2(
  url: string,
  { method = "GET", headers = {} }: SseRequest = {},
): Promise<SseResponse> {
  const { origin, pathname, search } = new URL(url);
  const session = http2.connect(origin);
  session.on("error", () => {});
  const stream = session.request({ ":method": method, ":path": `${pathname}${search}`, ...headers });
  stream.end();
  const [response] = (await answer(stream)) as [http2.IncomingHttpHeaders];
  stream.on("error", () => {});
  return new SseResponse(Number(response[":status"]), response, stream, () => session.destroy());
}
