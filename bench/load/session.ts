/**
 * A session as a worker holds it, over a plain gRPC stream: numbers what it sends, keeps within the credit, and tells of each
 * batch when all of it is durable. What the credit does not allow yet waits here, in order. Answers are decoded: they are
 * few. Whatever is not an ack, a state or a sign of life is a failure: a run in which entries are refused means nothing.
 */
import type { ClientHttp2Stream } from "node:http2";
import { AckLevel } from "../../gen/tributary/v1/event_pb.ts";
import type { SessionReply } from "../../gen/tributary/v1/session_pb.ts";
import { FrameCutter, toFrame } from "../wire/grpc-frames.ts";
import { type Connections, ended } from "./connections.ts";
import type { SessionBatch } from "./session-batch.ts";
import { type SessionKind, toReply } from "./session-kind.ts";

export class Session {
  /** Hears of each batch that is durable, with the time it was given, then (without one) of the ack's end. */
  onDurable = (_plannedUs: number | undefined): void => {};
  readonly #stream: ClientHttp2Stream;
  readonly #batch: SessionBatch;
  readonly #waiting: number[] = [];
  readonly #sent: { readonly upTo: number; readonly plannedUs: number }[] = [];
  #last = 0;
  #highest = 0;
  #failure: Error | undefined;
  #onChange = () => {};

  private constructor(stream: ClientHttp2Stream, batch: SessionBatch) {
    this.#stream = stream;
    this.#batch = batch;
  }

  /** Resolves when the server has taken it. */
  static async open(
    connections: Connections,
    kind: SessionKind,
    target: string,
    batch: SessionBatch,
  ): Promise<Session> {
    const stream = connections.call(kind.path);
    const session = new Session(stream, batch);
    const cutter = new FrameCutter((bytes) => session.#hear(bytes));
    stream.on("data", (chunk: Buffer) => cutter.push(chunk));
    ended(stream).then(
      () => session.#fail(new Error("a session ended")),
      (error: Error) => session.#fail(error),
    );
    stream.write(toFrame(kind.init(target)));
    await session.#until(() => session.#highest > 0);
    return session;
  }

  get hasRoom(): boolean {
    return this.#last + this.#batch.events <= this.#highest;
  }

  /** Sends a batch, at once or when there is room for it. */
  send(plannedUs: number): void {
    this.#waiting.push(plannedUs);
    this.#flush();
  }

  /** Resolves when everything sent is durable. */
  settled(): Promise<void> {
    return this.#until(() => this.#waiting.length === 0 && this.#sent.length === 0);
  }

  #flush(): void {
    while (this.#waiting.length > 0 && this.hasRoom) {
      const plannedUs = this.#waiting.shift() as number;
      this.#stream.write(this.#batch.from(this.#last + 1, plannedUs));
      this.#last += this.#batch.events;
      this.#sent.push({ upTo: this.#last, plannedUs });
    }
  }

  #hear(bytes: Buffer): void {
    const message = toReply(bytes);
    switch (message?.case) {
      case "initAck":
        this.#highest = Number(message.value.lastSequence) + message.value.credit;
        break;
      case "ack":
        if (message.value.level !== AckLevel.DURABLE) return;
        this.#noteAck(Number(message.value.upToSequence), message.value.credit);
        break;
      case "status":
      case "heartbeat":
        return;
      default:
        this.#fail(unwanted(message));
    }
    this.#onChange();
  }

  #noteAck(upTo: number, credit: number): void {
    this.#highest = Math.max(this.#highest, upTo + credit);
    for (let first = this.#sent[0]; first !== undefined && first.upTo <= upTo; first = this.#sent[0]) {
      this.#sent.shift();
      this.onDurable(first.plannedUs);
    }
    this.#flush();
    this.onDurable(undefined);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#onChange();
  }

  #until(isTrue: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#onChange = () => {
        if (this.#failure !== undefined) reject(this.#failure);
        else if (isTrue()) resolve();
      };
      this.#onChange();
    });
  }
}

function unwanted(message: SessionReply["message"] | undefined): Error {
  const why = message?.case === "rejected" ? `: ${message.value.message}` : "";
  return new Error(`a session was told ${message?.case ?? "nothing"}${why}`);
}
