/**
 * A reader that follows to the end of its scopes: whenever its connection breaks, ends or falls silent it goes on at another
 * instance with one integer. It may stop reading for a while.
 */
import { Code } from "@connectrpc/connect";
import type { Instance } from "./instance.ts";
import type { ReaderLog, Told } from "./reader-log.ts";
import { nap, type Stage } from "./stage.ts";

/** Asked for, ms. */
export const heartbeatIntervalMs = 1000;
/** Without a word for so long it tries another instance, ms. SSE has a heartbeat of 15 s. */
export const silence = { connect: 3500, sse: 17_000 } as const;
const lookMs = 250;

export interface Message {
  readonly log: ReaderLog;
  readonly told: Told;
}

/** Opens one connection for what these logs still lack. */
export type Subscribe = (
  instance: Instance,
  logs: readonly ReaderLog[],
  signal: AbortSignal,
) => AsyncIterable<Message>;

export class Reader {
  readonly name: string;
  readonly logs: readonly ReaderLog[];
  /** Told how many events came. */
  onEvents: ((count: number) => void) | undefined;
  readonly #stage: Stage;
  readonly #subscribe: Subscribe;
  /** Its newest connection, for whoever wonders why it waits. */
  where = "never connected";
  #stalledUntilMs = 0;
  #call = new AbortController();
  #isStopped = false;

  readonly #silenceMs: number;

  constructor(
    stage: Stage,
    name: string,
    logs: readonly ReaderLog[],
    subscribe: Subscribe,
    silenceMs: number = silence.connect,
  ) {
    this.#silenceMs = silenceMs;
    this.#stage = stage;
    this.name = name;
    this.logs = logs;
    this.#subscribe = subscribe;
  }

  get isDone(): boolean {
    return this.logs.every(({ finalOffset }) => finalOffset !== undefined);
  }

  /** Reads nothing for so long. */
  stall(ms: number): void {
    this.#stalledUntilMs = Date.now() + ms;
  }

  stop(): void {
    this.#isStopped = true;
    this.#call.abort();
  }

  /** To the ends of all its scopes. */
  async run(): Promise<void> {
    const { witness, random } = this.#stage;
    while (!this.isDone && !this.#isStopped && !this.#stage.isClosed) {
      let pauseMs = 10 + random.below(60);
      try {
        pauseMs = Math.max(pauseMs, await this.#connect(this.#stage.anyInstance()));
      } catch (error) {
        if (this.#isStopped) break;
        witness.excuses(this.name, error);
      }
      for (const log of this.logs) log.reconnect();
      if (!this.isDone) await nap(pauseMs);
    }
    for (const log of this.logs) for (const problem of log.problems) witness.blame(log.name, problem);
  }

  /** One connection, to its end. How long to wait before the next, ms. */
  async #connect(instance: Instance): Promise<number> {
    const call = new AbortController();
    this.#call = call;
    const { witness } = this.#stage;
    let heardMs = Date.now();
    this.where = `at ${instance.name} since ${witness.time}, heard nothing`;
    const watch = setInterval(() => {
      const sinceMs = Math.max(heardMs, this.#stalledUntilMs);
      if (Date.now() - sinceMs <= this.#silenceMs) return;
      witness.count("readers that gave up a silent connection");
      call.abort();
    }, lookMs);
    let reconnectAfterMs = 0;
    try {
      const wanted = this.logs.filter(({ finalOffset }) => finalOffset === undefined);
      for await (const { log, told } of this.#subscribe(instance, wanted, call.signal)) {
        heardMs = Date.now();
        this.where = `at ${instance.name}, heard ${told.kind} at ${witness.time}`;
        log.take(told);
        if (told.kind === "events") this.onEvents?.(told.events.length);
        if (told.kind === "closing") reconnectAfterMs = Math.max(reconnectAfterMs, told.reconnectAfterMs);
        const stallMs = this.#stalledUntilMs - Date.now();
        if (stallMs > 0) await nap(stallMs);
      }
    } finally {
      clearInterval(watch);
      call.abort();
    }
    return reconnectAfterMs;
  }
}

/** May a label's error be healed by trying again? */
export const isExcusableLabel = (code: string): boolean =>
  [Code.Unavailable, Code.ResourceExhausted, Code.DeadlineExceeded, Code.Canceled].some(
    (each) => Code[each].toLowerCase() === code.replaceAll("_", ""),
  );
