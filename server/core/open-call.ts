/**
 * The calls that are open: each long one registers here, so that a drain, an expired credential or a revoked key can end
 * it in words. Ending is a request: the call sends its last message and returns. Those that read count against their tenant's
 * limit until they end.
 */
import type { Clock } from "./clock.ts";
import type { Readers } from "./quota/readers.ts";

export type ClosingReason = "draining" | "credential_expired" | "idle_timeout" | "revoked";

export interface Closing {
  readonly reason: ClosingReason;
  /** Wait so long before reconnecting, ms; already jittered. */
  readonly reconnectAfterMs: number;
}

/** Whose call it is, for revocation. */
export interface CallOwner {
  readonly tenant: string | undefined;
  /** The API key, also that with which a stream token was made; undefined for keys that cannot be revoked. */
  readonly apiKeyId: string | undefined;
  /** The key that signed the stream token; absent for other credentials. */
  readonly signingKeyId?: string | undefined;
  /** When the credential expires, ms by the clock of `OpenCalls`; undefined: never. */
  readonly expiresMs: number | undefined;
}

/** Writers are drained before readers, so that readers get what the writers' last entries became. */
export type CallKind = "writer" | "reader";

export interface OpenCall {
  readonly owner: CallOwner;
  /** Set once. */
  readonly closing: Closing | undefined;
  /** Called when `closing` is set; at once if it is. Returns how to stop it. */
  onClosing(listener: () => void): () => void;
  end(): void;
}

class Call implements OpenCall {
  readonly kind: CallKind;
  readonly owner: CallOwner;
  closing: Closing | undefined;
  readonly #listeners = new Set<() => void>();
  readonly #onEnd: () => void;

  constructor(kind: CallKind, owner: CallOwner, onEnd: () => void) {
    this.kind = kind;
    this.owner = owner;
    this.#onEnd = onEnd;
  }

  onClosing(listener: () => void): () => void {
    if (this.closing !== undefined) listener();
    else this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(closing: Closing): void {
    if (this.closing !== undefined) return;
    this.closing = closing;
    for (const listener of this.#listeners) listener();
  }

  end(): void {
    this.#onEnd();
  }
}

/** Timers of Node hold at most 2^31-1 ms. */
const longestTimerMs = 2 ** 31 - 1;

/** Its clock is the database's, by which credentials expire. */
export class OpenCalls {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #calls = new Set<Call>();
  readonly #draining = new Set<CallKind>();
  readonly #readers: Pick<Readers, "take"> | undefined;
  #onEnd = () => {};

  constructor(deps: {
    readonly clock: Clock;
    readonly random: () => number;
    /** undefined: nobody counts. */
    readonly readers?: Pick<Readers, "take">;
  }) {
    this.#clock = deps.clock;
    this.#readers = deps.readers;
    this.#random = deps.random;
  }

  get size(): number {
    return this.#calls.size;
  }

  /** How many are open of each kind. */
  count(): Readonly<Record<CallKind, number>> {
    const counted = { writer: 0, reader: 0 };
    for (const { kind } of this.#calls) counted[kind]++;
    return counted;
  }

  /** A call that reads. Throws resource_exhausted if its tenant has as many as it may have. */
  async openReader(owner: CallOwner): Promise<OpenCall> {
    return this.open("reader", owner, await this.countReader(owner));
  }

  /** Counts what reads within a call. Returns how to give it back; twice is once. */
  async countReader({ tenant }: CallOwner): Promise<() => void> {
    return (tenant === undefined ? undefined : await this.#readers?.take(tenant)) ?? (() => {});
  }

  open(kind: CallKind, owner: CallOwner, onEnd = () => {}): OpenCall {
    const left = owner.expiresMs === undefined ? undefined : owner.expiresMs - this.#clock.now();
    const cancelExpiry =
      left === undefined
        ? undefined
        : this.#clock.after(Math.min(Math.max(0, left), longestTimerMs), () =>
            call.close({ reason: "credential_expired", reconnectAfterMs: 0 }),
          );
    const call = new Call(kind, owner, () => {
      cancelExpiry?.();
      this.#calls.delete(call);
      onEnd();
      this.#onEnd();
    });
    this.#calls.add(call);
    if (this.#draining.has(kind)) call.close(this.#jittered());
    return call;
  }

  /** The owners of open calls that can be revoked. */
  *owners(): Generator<CallOwner> {
    for (const call of this.#calls) yield call.owner;
  }

  /** Ends the calls of these owners. */
  revoke(isRevoked: (owner: CallOwner) => boolean): void {
    for (const call of this.#calls) {
      if (isRevoked(call.owner)) call.close({ reason: "revoked", reconnectAfterMs: 0 });
    }
  }

  /** Ends all calls of a kind, also those that open from now on; resolves when none is left, or at the signal. */
  async drain(kind: CallKind, signal: AbortSignal): Promise<void> {
    this.#draining.add(kind);
    for (const call of this.#calls) if (call.kind === kind) call.close(this.#jittered());
    while (!signal.aborted && this.#calls.values().some((call) => call.kind === kind)) {
      await new Promise<void>((resolve) => {
        this.#onEnd = resolve;
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  }

  /** Spread over two seconds, so that the readers of a stopped instance do not all come at once. */
  #jittered(): Closing {
    return { reason: "draining", reconnectAfterMs: Math.round(100 + this.#random() * 1900) };
  }
}
