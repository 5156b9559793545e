/** A logical reader of the model: follows through aborts and restarts, and keeps what it got. */
import type { SentEvent } from "../../server/core/batch.ts";
import type { FollowRequest } from "../../server/core/follow.ts";
import { type CoreServer, readAll } from "../support/core-server.ts";
import type { Random } from "../support/random.ts";

export interface Ended {
  readonly status: number;
  readonly finalOffset: number;
}

export class ModelReader {
  readonly name: string;
  readonly request: FollowRequest;
  readonly events: SentEvent[] = [];
  readonly gaps: { from: number; to: number }[] = [];
  readonly problems: string[] = [];
  ended: Ended | undefined;
  /** Where it began, as `opened` said the first time. */
  start: number | undefined;
  #position: number | undefined;
  #abort = new AbortController();
  #run: Promise<void> = Promise.resolve();
  readonly #random: Random;
  readonly #slow: boolean;

  constructor(
    name: string,
    request: Pick<
      FollowRequest,
      "streamId" | "scope" | "filter" | "start" | "conflateTypes" | "minIntervalMs"
    >,
    random: Random,
  ) {
    this.name = name;
    this.request = { ...readAll, heartbeatIntervalMs: 1000, ...request };
    this.#random = random;
    this.#slow = random.chance(0.3);
  }

  connect(server: CoreServer): void {
    this.#abort = new AbortController();
    this.#run = this.#follow(server, this.#abort.signal);
  }

  async disconnect(): Promise<void> {
    this.#abort.abort();
    await this.#run;
  }

  /** Resolves when this connection is over. */
  get done(): Promise<void> {
    return this.#run;
  }

  async #follow(server: CoreServer, signal: AbortSignal): Promise<void> {
    const start = this.#position ?? this.request.start;
    try {
      for await (const message of server.follow({ ...this.request, start }, signal)) {
        if (this.ended !== undefined) this.problems.push(`a message ${message.kind} after the end`);
        if (message.kind === "opened") {
          this.start ??= message.startOffset;
          this.#moveTo(message.startOffset);
        } else if (message.kind === "heartbeat") {
          this.#moveTo(message.offset);
        } else if (message.kind === "gap") {
          this.gaps.push({ from: message.from, to: message.to });
          this.#moveTo(message.to);
        } else if (message.kind === "events") {
          for (const event of message.events) {
            if (event.offset <= (this.#position ?? 0))
              this.problems.push(`offset ${event.offset} after ${this.#position}`);
            this.#position = event.offset;
            this.events.push(event);
          }
          if (this.#slow) await new Promise((resolve) => setTimeout(resolve, this.#random.below(20)));
        } else if (message.kind === "ended") {
          this.ended = message;
        }
        if (signal.aborted) return;
      }
    } catch (error) {
      if (!signal.aborted) this.problems.push(`failed: ${(error as Error).stack}`);
    }
  }

  #moveTo(offset: number): void {
    if (offset < (this.#position ?? 0))
      this.problems.push(`the position went back from ${this.#position} to ${offset}`);
    this.#position = Math.max(this.#position ?? 0, offset);
  }
}
