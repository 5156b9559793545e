/// <reference lib="esnext.disposable" preserve="true" />
/**
 * What is followed, as an async iterable, with what one wants beside the loop: its state and position, a bounded `collect`,
 * `forEach`, a web stream, and the single values. Nothing is read before somebody asks for an item, and it is over when the
 * loop is left.
 *
 * Loss is never silent: who asks for values alone is told of a gap by a `GapError`, unless it takes them with `onGap`.
 */
import type { Gap } from "../../gen/tributary/v1/event_pb.ts";
import type { StreamState } from "./reading.ts";

/** What the kinds of subscriptions differ in. */
export interface Kind<I, V> {
  /** The values of an item; undefined: it carries none. */
  unpack(item: I): readonly V[] | undefined;
  /** The rest of an item. */
  pack(item: I, values: readonly V[]): I;
  gapOf(item: I): Gap | undefined;
  /** Where one is after this value of an item; undefined: where the item began. */
  offsetAfter(item: I, value: V): bigint | undefined;
  sizeOf(value: V): number;
}

export interface Source<I> {
  readonly position: () => bigint;
  start(signal: AbortSignal, tellState: (state: StreamState) => void): AsyncGenerator<I, void>;
}

/** These offsets can no longer be had, and nobody said what to do then. */
export class GapError extends Error {
  override readonly name = "GapError";
  readonly gap: Gap;

  constructor(gap: Gap) {
    super(`offsets ${gap.fromOffset} to ${gap.toOffset} are gone; take them with onGap, or begin after them`);
    this.gap = gap;
  }
}

export interface ValuesOptions {
  /** Hears of what is lost, and it goes on. Absent: a `GapError` is thrown. */
  readonly onGap?: ((gap: Gap) => void) | undefined;
}

const collects = { limit: 10_000, limitBytes: 16 * 1024 * 1024 };

export interface CollectOptions {
  /** At most so many values; the rest stays to be read. Default 10,000. */
  readonly limit?: number | undefined;
  /** Stops with the value that reaches so many bytes of payload. Default 16 MiB. */
  readonly limitBytes?: number | undefined;
  /** Stops with what there is then. */
  readonly signal?: AbortSignal | undefined;
}

export interface Collected<V> {
  readonly values: readonly V[];
  readonly gaps: readonly Gap[];
  /** Why it stopped. */
  readonly outcome: "ended" | "full" | "stopped" | "failed";
  /** With "failed". */
  readonly error?: unknown;
}

export class Subscription<I, V> implements AsyncIterableIterator<I, void, undefined> {
  readonly #kind: Kind<I, V>;
  readonly #source: Source<I>;
  readonly #stop = new AbortController();
  readonly #listeners = new Set<(state: StreamState) => void>();
  readonly #signal: AbortSignal | undefined;
  readonly #pass = () => this.#stop.abort();
  #items: AsyncGenerator<I, void> | undefined;
  /** Read and not handed over: what a `collect` left, at most one item. */
  #left: I | undefined;
  #pending: Promise<IteratorResult<I, void>> | undefined;
  #state: StreamState = "connecting";
  /** Where one is inside an item that is handed over value by value. */
  #inside: bigint | undefined;
  /** Where one was before the newest item. */
  #before = 0n;

  constructor(kind: Kind<I, V>, source: Source<I>, signal?: AbortSignal) {
    this.#kind = kind;
    this.#source = source;
    this.#signal = signal;
    if (signal?.aborted === true) this.#stop.abort();
    signal?.addEventListener("abort", this.#pass, { once: true });
  }

  get state(): StreamState {
    return this.#state;
  }

  /** What was handed over lies at or before this offset. */
  get position(): bigint {
    return this.#inside ?? this.#source.position();
  }

  /** Calls the listener with each change of the state, until the answer is called. */
  onState(listener: (state: StreamState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async next(): Promise<IteratorResult<I, void>> {
    const left = this.#left;
    if (left !== undefined) {
      this.#left = undefined;
      this.#inside = undefined;
      return { done: false, value: left };
    }
    const pending = this.#pending;
    if (pending !== undefined) {
      this.#pending = undefined;
      return pending;
    }
    return this.#pull();
  }

  /** Ends it and its call, also while a `next` is waiting. */
  async return(): Promise<IteratorResult<I, void>> {
    this.#left = undefined;
    this.#stop.abort();
    await this.#items?.return();
    this.#close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  /** One by one, without what goes on around them. */
  async *values({ onGap }: ValuesOptions = {}): AsyncGenerator<V, void> {
    for await (const item of this) {
      const gap = this.#kind.gapOf(item);
      if (gap !== undefined) {
        if (onGap === undefined) throw new GapError(gap);
        onGap(gap);
      }
      for (const value of this.#kind.unpack(item) ?? []) {
        this.#inside = this.#kind.offsetAfter(item, value) ?? this.#before;
        yield value;
      }
      this.#inside = undefined;
    }
  }

  /** Calls it with one value after another and waits for each. What it throws ends the subscription and is thrown. */
  async forEach(act: (value: V) => unknown, options: ValuesOptions = {}): Promise<void> {
    for await (const value of this.values(options)) await act(value);
  }

  /** Gathers values until the end or a bound. Never throws: what was there before an error is in the answer beside it. */
  async collect(options: CollectOptions = {}): Promise<Collected<V>> {
    const { limit = collects.limit, limitBytes = collects.limitBytes, signal } = options;
    const values: V[] = [];
    const gaps: Gap[] = [];
    let bytes = 0;
    const full = () => values.length >= limit || bytes >= limitBytes;
    try {
      while (!full()) {
        const result = await this.#nextBefore(signal);
        if (result === undefined) return { values, gaps, outcome: "stopped" };
        if (result.done === true) {
          return { values, gaps, outcome: this.#stop.signal.aborted ? "stopped" : "ended" };
        }
        const item = result.value;
        const gap = this.#kind.gapOf(item);
        if (gap !== undefined) gaps.push(gap);
        const found = this.#kind.unpack(item) ?? [];
        let taken = 0;
        while (taken < found.length && !full()) {
          const value = found[taken++] as V;
          values.push(value);
          bytes += this.#kind.sizeOf(value);
        }
        if (taken < found.length) {
          const before = this.#before;
          this.#left = this.#kind.pack(item, found.slice(taken));
          const last = values.at(-1);
          this.#inside = last === undefined ? before : (this.#kind.offsetAfter(item, last) ?? before);
        }
      }
      return { values, gaps, outcome: "full" };
    } catch (error) {
      return { values, gaps, outcome: "failed", error };
    }
  }

  /** The items as a web stream: read when it is read, over when it is cancelled. */
  toReadableStream(): ReadableStream<I> {
    return new ReadableStream<I>(
      {
        pull: async (controller) => {
          const result = await this.next();
          if (result.done === true) controller.close();
          else controller.enqueue(result.value);
        },
        cancel: async () => {
          await this.return();
        },
      },
      { highWaterMark: 0 },
    );
  }

  async #pull(): Promise<IteratorResult<I, void>> {
    this.#items ??= this.#source.start(this.#stop.signal, (state) => this.#tell(state));
    this.#before = this.#source.position();
    try {
      const result = await this.#items.next();
      if (result.done === true) this.#close();
      return result;
    } catch (error) {
      this.#close();
      throw error;
    }
  }

  /** undefined: the signal came first; the item is the next one's. */
  async #nextBefore(signal: AbortSignal | undefined): Promise<IteratorResult<I, void> | undefined> {
    if (signal?.aborted === true) return undefined;
    const next = this.next();
    if (signal === undefined) return next;
    let stop = () => {};
    const stopped = new Promise<undefined>((resolve) => {
      stop = () => resolve(undefined);
      signal.addEventListener("abort", stop, { once: true });
    });
    try {
      const first = await Promise.race([next, stopped]);
      if (first === undefined) {
        next.catch(() => {}); // told to who asks next
        this.#pending = next;
      }
      return first;
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  #tell(state: StreamState): void {
    if (state === this.#state) return;
    this.#state = state;
    for (const listener of this.#listeners) listener(state);
  }

  #close(): void {
    this.#signal?.removeEventListener("abort", this.#pass);
    this.#tell("closed");
  }
}
