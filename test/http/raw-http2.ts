/** An HTTP/2 client made of frames, for what a well-behaved client cannot send. It never answers by itself. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { until } from "../support/until.ts";

export const frameType = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;
export const flag = { ack: 1, endStream: 1, endHeaders: 4 } as const;
/** RFC 9113, 7. */
export const errorCode = { none: 0, flowControl: 3, frameSize: 6, refused: 7, calm: 11 } as const;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** SETTINGS with these values by their numbers. */
export const settings = (values: Readonly<Record<number, number>>): Buffer =>
  frame(
    frameType.settings,
    0,
    0,
    Buffer.concat(
      Object.entries(values).map(([id, value]) =>
        Buffer.concat([Buffer.from([0, Number(id)]), uint32(value)]),
      ),
    ),
  );

/** A header block: literals without Huffman coding and without the table (RFC 7541, 6.2.2). */
export function headerBlock(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.of(0), text(name), text(value)]));
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, "latin1");
  const length: number[] = [];
  let rest = bytes.length;
  if (rest < 127) length.push(rest);
  else {
    length.push(127);
    for (rest -= 127; rest >= 128; rest >>= 7) length.push((rest & 127) | 128);
    length.push(rest);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}

export function requestFields(
  path: string,
  more: readonly (readonly [string, string])[] = [],
  method = "POST",
): [string, string][] {
  return [
    [":method", method],
    [":scheme", "http"],
    [":authority", "localhost"],
    [":path", path],
    ...more.map(([name, value]): [string, string] => [name, value]),
  ];
}

export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

export class RawHttp2 {
  readonly frames: Frame[] = [];
  readonly socket: Socket;
  closed = false;
  #bytes: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => {}); // it is meant to be cut off
    socket.on("close", () => {
      this.closed = true;
    });
    socket.on("data", (bytes: Buffer) => this.#read(bytes));
  }

  /** Connected, and nothing sent yet. */
  static async dial(port: number, { tls = false }: { tls?: boolean } = {}): Promise<RawHttp2> {
    const socket = tls
      ? connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false, ALPNProtocols: ["h2"] })
      : connect(port, "127.0.0.1");
    const client = new RawHttp2(socket);
    await once(socket, tls ? "secureConnect" : "connect");
    return client;
  }

  /** After the preface and these settings. */
  static async open(
    port: number,
    values: Readonly<Record<number, number>> = {},
    options: { tls?: boolean } = {},
  ): Promise<RawHttp2> {
    const client = await RawHttp2.dial(port, options);
    client.send(preface, settings(values));
    return client;
  }

  send(...frames: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(frames));
  }

  /** Sends again and again while it is taken, at most `rounds` times; answers how often it was. */
  async flood(make: (round: number) => Buffer, rounds: number): Promise<number> {
    for (let round = 0; round < rounds; round++) {
      if (this.closed || !this.socket.writable) return round;
      if (this.socket.write(make(round))) await new Promise((resolve) => setImmediate(resolve));
      else await Promise.race([once(this.socket, "drain"), once(this.socket, "close")]).catch(() => {});
    }
    return rounds;
  }

  request(stream: number, fields: readonly (readonly [string, string])[], { end = false } = {}): void {
    this.send(
      frame(frameType.headers, flag.endHeaders | (end ? flag.endStream : 0), stream, headerBlock(fields)),
    );
  }

  /** Code of the connection's end, as the server gave it; undefined: none yet. */
  get goaway(): number | undefined {
    return this.frames.findLast(({ type }) => type === frameType.goaway)?.payload.readUInt32BE(4);
  }

  /** Code with which the server broke off a stream. */
  resetOf(stream: number): number | undefined {
    const found = this.frames.find((one) => one.type === frameType.reset && one.stream === stream);
    return found?.payload.readUInt32BE(0);
  }

  ended(timeoutMs?: number): Promise<void> {
    return until(() => {
      if (!this.closed) throw new Error("the connection is still open");
    }, timeoutMs);
  }

  #read(bytes: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    while (this.#bytes.length >= 9) {
      const length = this.#bytes.readUIntBE(0, 3);
      if (this.#bytes.length < 9 + length) return;
      this.frames.push({
        type: this.#bytes.readUInt8(3),
        flags: this.#bytes.readUInt8(4),
        stream: this.#bytes.readUInt32BE(5) & 0x7fffffff,
        payload: this.#bytes.subarray(9, 9 + length),
      });
      if (this.frames.length > 20_000) this.frames.splice(0, 10_000);
      this.#bytes = this.#bytes.subarray(9 + length);
    }
  }
}
