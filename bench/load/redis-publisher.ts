/**
 * Redis Streams as a durable log: XADD with ready bytes, so many in one pipeline, so many pipelines in flight over a few
 * connections; the next leaves when the last one's answers are all there. No client library: as with the other loads, the server
 * is measured.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { nowUs } from "../measure/clock.ts";
import { Latencies } from "../measure/latencies.ts";
import { stampedText } from "../wire/stamp.ts";
import type { Published } from "./publisher.ts";

export interface RedisLoad {
  readonly streams: number;
  readonly eventsPerMessage: number;
  readonly payloadBytes: number;
  readonly inFlight: number;
  readonly seconds: number;
}

const connectionCount = 4;

export async function open({ port }: { port: number }) {
  const connections = await Promise.all(Array.from({ length: connectionCount }, () => Pipelines.open(port)));

  async function closedLoop(load: RedisLoad): Promise<Published> {
    const messages = Array.from({ length: load.streams }, (_, stream) => toPipeline(stream, load));
    const ack = new Latencies();
    const deadline = nowUs() + load.seconds * 1e6;
    let sent = 0;
    let acknowledged = 0;
    await Promise.all(
      Array.from({ length: load.inFlight }, async (_, i) => {
        const connection = connections[i % connections.length] as Pipelines;
        for (let began = nowUs(); began < deadline; began = nowUs()) {
          await connection.send(messages[sent++ % messages.length] as Buffer, load.eventsPerMessage);
          const now = nowUs();
          if (now > deadline) return;
          ack.record(now - began);
          acknowledged += 1;
        }
      }),
    );
    return {
      messages: acknowledged,
      sent,
      events: acknowledged * load.eventsPerMessage,
      seconds: load.seconds,
      ack: ack.summary(),
      late: new Latencies().summary(),
    };
  }

  return {
    methods: { closedLoop },
    close: () => {
      for (const connection of connections) connection.close();
    },
  };
}

function toPipeline(stream: number, { eventsPerMessage, payloadBytes }: RedisLoad): Buffer {
  const payload = stampedText(0, payloadBytes);
  const words = ["XADD", `bench-${stream}`, "*", "payload", payload];
  const command = `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("")}`;
  return Buffer.from(command.repeat(eventsPerMessage));
}

interface Waiting {
  left: number;
  resolve(): void;
  reject(error: Error): void;
}

const newline = 10;
const dollar = 36;
const minus = 45;

/** Answers come in the order of the commands. Each is `$<length>`, then the id that the entry was given. */
class Pipelines {
  readonly #socket: Socket;
  readonly #waiting: Waiting[] = [];
  /** Lines that ended; an answer is two. */
  #lines = 0;
  #atStart = true;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (bytes) => this.#read(bytes));
    socket.on("error", (error) => this.#fail(error));
    socket.on("close", () => this.#fail(new Error("redis closed the connection")));
  }

  static async open(port: number): Promise<Pipelines> {
    const socket = connect({ host: "127.0.0.1", port, noDelay: true });
    await once(socket, "connect");
    return new Pipelines(socket);
  }

  send(pipeline: Buffer, commands: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ left: commands, resolve, reject });
      this.#socket.write(pipeline);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(bytes: Buffer): void {
    for (let at = 0; at < bytes.byteLength; ) {
      const isHead = this.#atStart && this.#lines % 2 === 0;
      if (isHead && bytes[at] !== dollar) {
        const what = bytes[at] === minus ? "refused" : "answered";
        this.#fail(new Error(`redis ${what}: ${bytes.toString("latin1", at, at + 200)}`));
        return;
      }
      const end = bytes.indexOf(newline, at);
      this.#atStart = end !== -1;
      if (end === -1) return;
      at = end + 1;
      this.#lines += 1;
      if (this.#lines % 2 === 0) this.#answered();
    }
  }

  #answered(): void {
    const [first] = this.#waiting;
    if (first === undefined) return;
    first.left -= 1;
    if (first.left > 0) return;
    this.#waiting.shift();
    first.resolve();
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}
