/**
 * One reader over a plain TCP connection: Server-Sent Events over HTTP/1.1, or socket.io over WebSocket. Its bytes are cut into
 * events and nothing is decoded, as in subscription.ts: a real client of a thousand would be measured instead of the server.
 *
 * All connections read into one buffer, which is free again when its bytes were handled.
 */
import { connect, type Socket } from "node:net";
import { SseCutter, type TextCutter, WebSocketCutter } from "../wire/text-cutters.ts";

export interface Feed {
  readonly kind: "sse" | "socket.io";
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Path and query of a reader of this workflow, for which `{workflow}` stands. */
  readonly path: string;
}

export interface FeedHandlers {
  /** Each event once, in bytes[start, end). */
  onEvent(bytes: Buffer, start: number, end: number): void;
  /** It broke, or ended. */
  onFailure(error: Error): void;
}

const openLimitMs = 30_000;
const readBytes = 64 * 1024;
const shared = Buffer.alloc(readBytes);

/** Masked with zeros, as short frames of a client must be: its own hello, and the answer to a ping. */
const frame = (text: string) =>
  Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);
const joinNamespace = frame("40");
const pong = frame("3");

/** Resolves when the reader is live. */
export function openFeed(feed: Feed, workflowId: string, handlers: FeedHandlers): Promise<Socket> {
  const { hostname, port } = new URL(feed.url);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => fail(new Error("a reader was not live in time")), openLimitMs);
    let live = false;
    let head = "";
    let cutter: TextCutter | undefined;

    const becomeLive = () => {
      live = true;
      clearTimeout(timer);
      resolve(socket);
    };
    const fail = (error: Error) => {
      clearTimeout(timer);
      handlers.onFailure(error);
      reject(error);
      socket.destroy();
    };
    /** The first thing that a server says is that it listens. */
    const onText = (bytes: Buffer, start: number, end: number) => {
      if (feed.kind === "sse") {
        if (live) handlers.onEvent(bytes, start, end);
        else if (bytes.subarray(start, end).includes("open")) becomeLive();
        return;
      }
      // Engine.IO: 0 opened, 2 ping, 4 message; of messages Socket.IO: 0 joined, 2 event.
      const kind = String.fromCharCode(bytes[start] ?? 0);
      if (kind === "0") socket.write(joinNamespace);
      else if (kind === "2") socket.write(pong);
      else if (kind !== "4") fail(new Error(`unexpected packet ${kind}`));
      else if (live) handlers.onEvent(bytes, start, end);
      else becomeLive();
    };
    const onBytes = (bytes: Buffer) => {
      if (cutter !== undefined) return cutter.push(bytes);
      head += bytes.toString("latin1");
      const end = head.indexOf("\r\n\r\n");
      if (end === -1) return;
      if (!/^HTTP\/1\.1 (200|101) /.test(head)) return fail(new Error(head.slice(0, 500)));
      cutter = feed.kind === "sse" ? new SseCutter(onText) : new WebSocketCutter(onText);
      cutter.push(Buffer.from(head.slice(end + 4), "latin1"));
    };
    const socket = connect({
      host: hostname,
      port: Number(port),
      noDelay: true,
      onread: {
        buffer: shared,
        callback: (count) => {
          onBytes(shared.subarray(0, count));
          return true;
        },
      },
    });
    socket.on("error", fail);
    socket.on("close", () => fail(new Error("a reader's connection ended")));
    socket.write(requestOf(feed, workflowId));
  });
}

function requestOf({ kind, url, path, headers }: Feed, workflowId: string): string {
  const upgrade = {
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  };
  const all = {
    host: new URL(url).host,
    ...headers,
    ...(kind === "sse" ? { accept: "text/event-stream" } : upgrade),
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  return [`GET ${path.replace("{workflow}", workflowId)} HTTP/1.1`, ...lines, "", ""].join("\r\n");
}
