/// <reference lib="esnext.disposable" preserve="true" />
/**
 * Writes entries, each once and in order, whatever happens to the connection or the servers, and with a kept record to the
 * worker. What is not settled is kept and sent again; a worker that is faster than the server waits.
 *
 * Numbers: the outbox counts what this process writes, the server what its session has. `#base` lies between them: entry n of
 * the outbox is `#base + n` in the session. A new session, after one that has ended, begins at 1 again, so its base is minus
 * what was settled before.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import { AckLevel } from "../../gen/tributary/v1/event_pb.ts";
import {
  type Priority,
  type SessionClosed,
  SessionClosedReason,
  SessionClosedReasonSchema,
  SessionEndedSchema,
  type SessionInitAck,
  type SessionRejected,
  SessionState,
} from "../../gen/tributary/v1/session_pb.ts";
import { abortable, linked, sleep } from "../abort.ts";
import { Failures, type ReadDeps } from "../read/reading.ts";
import { asConnectError } from "../resilience/errors.ts";
import { streamCall } from "../stream-call.ts";
import { type Attached, Connection } from "./connection.ts";
import {
  CancelRequestedError,
  EntryRejectedError,
  SessionClosedError,
  SessionFailedError,
} from "./errors.ts";
import type { SessionKind } from "./kinds.ts";
import { Outbox, type Settled, type Slot, type Written } from "./outbox.ts";
import { MemorySessionStore, type SessionRecord, type SessionStore } from "./session-store.ts";

const defaults = { maxEntries: 1000, maxBytes: 4 * 1024 * 1024, maxBatch: 1000 };

export interface SessionOptions {
  /** Goes on with this one. `store` wins. */
  readonly sessionId?: string | undefined;
  /** Keeps what another process needs to go on where this one stopped. */
  readonly store?: SessionStore | undefined;
  /** At most so many entries are kept that are not settled; more have to wait. Default 1000. */
  readonly maxEntries?: number | undefined;
  /** The same in bytes of payload; one larger entry may stand alone. Default 4 MiB. */
  readonly maxBytes?: number | undefined;
  /** Entries of a message, most. Default 1000. */
  readonly maxBatch?: number | undefined;
  readonly priority?: Priority | undefined;
  /** Acknowledgements a second this client wants at most. Default: no limit. */
  readonly preferredRate?: number | undefined;
  /** Hears of each entry that the server refuses for good; of a resumed session also of the newest 100 from before. */
  readonly onRejected?: ((error: EntryRejectedError) => void) | undefined;
  /** Ends it at once. The server keeps the session for its lease. */
  readonly signal?: AbortSignal | undefined;
}

export interface SessionOpened {
  readonly sessionId: string;
  /** It existed before: the entries up to `settled` are done. */
  readonly resumed: boolean;
  /** How many entries are settled, in this session and, with a store, those before it: write what comes after. */
  readonly settled: number;
}

export type SessionPhase = "connecting" | "open" | "closed";

export class Session<E> {
  /** When the server has it for the first time. Rejects if that cannot be. */
  readonly opened: Promise<SessionOpened>;
  /** Resolves when it was closed or detached as asked, rejects when it failed. */
  readonly closed: Promise<void>;
  /** Aborts when somebody calls RequestCancel for its workflow or one above. Nothing else changes: finish, and close. */
  readonly cancelled: AbortSignal;
  readonly #kind: SessionKind<E>;
  readonly #deps: ReadDeps;
  readonly #options: SessionOptions;
  readonly #store: SessionStore;
  readonly #outbox: Outbox<E>;
  readonly #cancel = new AbortController();
  readonly #stop: ReturnType<typeof linked>;
  readonly #opening = Promise.withResolvers<SessionOpened>();
  readonly #attached: Attached<E>;
  readonly #listeners = new Set<(phase: SessionPhase) => void>();
  #connection: Connection<E> | undefined;
  #record: SessionRecord = { sessionId: "", before: 0 };
  #phase: SessionPhase = "connecting";
  #serverState: SessionState = SessionState.UNSPECIFIED;
  #sessionId = "";
  #final: number | undefined;
  #base = 0;
  #isFirst = true;
  #progress = false;
  #end: "drain" | "discard" | "detach" | undefined;
  #failure: Error | undefined;
  #paused = false;
  #rejected: EntryRejectedError | undefined;

  constructor(
    kind: SessionKind<E>,
    deps: ReadDeps & { readonly closed?: AbortSignal },
    options: SessionOptions,
  ) {
    const { maxEntries = defaults.maxEntries, maxBytes = defaults.maxBytes } = options;
    this.#kind = kind;
    this.#deps = deps;
    this.#options = options;
    this.#store = options.store ?? new MemorySessionStore(options.sessionId);
    this.#outbox = new Outbox({ maxEntries, maxBytes });
    this.#stop = linked(options.signal, deps.closed);
    this.#attached = this.#toAttached();
    this.cancelled = this.#cancel.signal;
    this.opened = this.#opening.promise;
    this.closed = this.#run();
    // Told by the next write, flush or close too: who does not wait for them need not hear of it here.
    this.opened.catch(() => {});
    this.closed.catch(() => {});
  }

  /** Empty until it is open. Another one after the lease of the first is over. */
  get sessionId(): string {
    return this.#sessionId;
  }

  get phase(): SessionPhase {
    return this.#phase;
  }

  /** Calls the listener with each change of the phase, until the answer is called. */
  onPhase(listener: (phase: SessionPhase) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** How many entries are settled, in this session and, with a store, those before it. */
  get settled(): number {
    return this.#final ?? this.#record.before + this.#attached.settled;
  }

  /** What the server said last of its side: under pressure, overloaded, its database away. */
  get serverState(): SessionState {
    return this.#serverState;
  }

  /** Entries that are kept because they are not settled, and their bytes. */
  get unsettled(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.#outbox.size, bytes: this.#outbox.bytes };
  }

  /** Puts the entry into the outbox, when there is room. Await it: that is what slows a worker down. */
  async write(entry: E, options: { readonly signal?: AbortSignal } = {}): Promise<Written> {
    this.#assertWritable();
    const bytes = this.#kind.bytesOf(entry);
    const slot = this.#outbox.hasRoom(bytes)
      ? this.#outbox.add(entry, bytes)
      : await this.#outbox.addWhenRoom(entry, bytes, options.signal);
    this.#connection?.wake();
    return slot;
  }

  /** Puts the entry into the outbox, if there is room now. */
  tryWrite(entry: E): Written | "full" {
    this.#assertWritable();
    const bytes = this.#kind.bytesOf(entry);
    if (!this.#outbox.hasRoom(bytes)) return "full";
    const slot = this.#outbox.add(entry, bytes);
    this.#connection?.wake();
    return slot;
  }

  /**
   * Resolves when everything that was written is settled. Throws the first rejection that nobody has heard of, neither by
   * `settled` nor by `onRejected`, or why the session failed.
   */
  async flush(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    await abortable(this.#outbox.whenEmpty(), options.signal);
    this.#assertWell();
  }

  /** Ends the session for good: with `drain` (the default) when everything is settled; without, what is not is given up. */
  async close({ drain = true }: { readonly drain?: boolean } = {}): Promise<void> {
    this.#end = drain ? "drain" : "discard";
    this.#connection?.wake();
    // Who gives up does not wait for a server that is away.
    const timer = drain
      ? undefined
      : setTimeout(() => this.#stop.abort(), this.#deps.resilience.openTimeoutMs);
    try {
      await this.closed;
    } finally {
      clearTimeout(timer);
    }
    this.#assertWell();
  }

  /** Ends the connection when everything is settled. The session stays for its lease, for who goes on with it. */
  async detach(): Promise<void> {
    this.#end = "detach";
    this.#connection?.wake();
    await this.closed;
    this.#assertWell();
  }

  /** Sends nothing more until `resume`, and the server takes nothing. What is written is kept. */
  pause(): void {
    this.#paused = true;
    this.#connection?.wake();
  }

  resume(): void {
    this.#paused = false;
    this.#connection?.wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // --- its life

  async #run(): Promise<void> {
    try {
      this.#record = (await this.#store.load()) ?? this.#record;
      await this.#keepConnected();
      this.#over(new SessionClosedError("the session is closed"));
    } catch (error) {
      const { signal } = this.#stop;
      if (this.#end === "discard") return this.#over(new SessionClosedError("given up by close"));
      const failure = signal.aborted ? toError(signal.reason) : toFailure(error);
      this.#failure = failure;
      this.#over(failure);
      throw failure;
    } finally {
      this.#enter("closed");
      this.#stop.release();
    }
  }

  #over(error: Error): void {
    this.#final = this.settled;
    this.#opening.reject(error);
    this.#outbox.giveUp(error);
  }

  async #keepConnected(): Promise<void> {
    const failures = new Failures(this.#deps, this.#kind.what);
    const { signal } = this.#stop;
    for (;;) {
      signal.throwIfAborted();
      this.#enter("connecting");
      this.#progress = false;
      let retryInMs = 0;
      try {
        const { closed, leave } = await this.#connect();
        if (this.#progress) failures.forget();
        if (closed === undefined) retryInMs = failures.add(undefined);
        else {
          if (closed.reason === SessionClosedReason.DRAINING) leave();
          if (await this.#isDone(closed)) return;
          retryInMs = closed.reconnectAfterMs || (this.#progress ? 0 : failures.add(undefined));
        }
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof ConnectError)) throw error;
        if (this.#progress) failures.forget();
        const [ended] = error.findDetails(SessionEndedSchema);
        if (ended !== undefined) {
          if (await this.#beginAnew(Number(ended.lastSequence))) return;
        } else retryInMs = failures.add(error);
      }
      await sleep(retryInMs, signal);
    }
  }

  /** One connection, until the last word of the server; undefined: it broke without one. */
  async #connect(): Promise<{ closed: SessionClosed | undefined; leave(): void }> {
    const { maxEntries = defaults.maxEntries, maxBatch = defaults.maxBatch, priority } = this.#options;
    const connection = new Connection<E>(
      this.#attached,
      {
        sessionId: this.#record.sessionId,
        ackLevel: AckLevel.DURABLE,
        clientBufferSize: maxEntries,
        maxBatchSize: maxBatch,
        ...(priority === undefined ? {} : { priority }),
      },
      this.#deps.resilience.random,
    );
    this.#connection = connection;
    const call = streamCall((own) => this.#kind.call(connection.said(), own), this.#deps, this.#stop.signal);
    try {
      for await (const { reply } of call.messages) {
        if (reply === undefined) continue;
        const closed = await connection.take(reply.message).catch((error: unknown) => {
          throw new Violation(error);
        });
        if (closed !== undefined) return { closed, leave: call.leave };
      }
      return { closed: undefined, leave: call.leave };
    } catch (error) {
      if (error instanceof Violation) throw error.cause;
      throw asConnectError(error);
    } finally {
      connection.stop();
      if (this.#connection === connection) this.#connection = undefined;
    }
  }

  /** What the last word means: true, it is over as wanted; false, come back. */
  async #isDone(closed: SessionClosed): Promise<boolean> {
    const { reason, finalSequence, lastOffset } = closed;
    switch (reason) {
      case SessionClosedReason.CLIENT:
        this.#settle(Number(finalSequence), lastOffset);
        await this.#save({ sessionId: "", before: this.#record.before + Number(finalSequence) });
        this.#base = -this.#outbox.settled;
        return true;
      case SessionClosedReason.DETACHED:
        this.#settle(Number(finalSequence), lastOffset);
        return this.#end === "detach";
      case SessionClosedReason.DRAINING:
        return false;
      case SessionClosedReason.LEASE_EXPIRED:
        return this.#beginAnew(Number(finalSequence));
      case SessionClosedReason.CREDENTIAL_EXPIRED:
        if (this.#deps.credential?.renew() === true) return false;
        break;
      default: // SUPERSEDED, ADMIN, REVOKED: coming back is not for this process to decide
    }
    const name = SessionClosedReasonSchema.value[reason]?.localName ?? String(reason);
    throw new SessionFailedError(`the session ended: ${name}`, reason);
  }

  /** The server has closed it. What is settled stays so, the rest goes into a new one; true: there is no rest, as wanted. */
  async #beginAnew(lastSequence: number): Promise<boolean> {
    if (this.#isFirst) this.#base = lastSequence;
    this.#settle(lastSequence, undefined);
    await this.#save({ sessionId: "", before: this.#record.before + lastSequence });
    this.#base = -this.#outbox.settled;
    return this.#end === "discard" || (this.#end !== undefined && this.#outbox.size === 0 && !this.#isFirst);
  }

  #enter(phase: SessionPhase): void {
    if (phase === this.#phase) return;
    this.#phase = phase;
    for (const listener of this.#listeners) listener(phase);
  }

  async #save(record: SessionRecord): Promise<void> {
    if (record.sessionId === this.#record.sessionId && record.before === this.#record.before) return;
    await this.#store.save(record);
    this.#record = record;
  }

  // --- what its connection tells

  #toAttached(): Attached<E> {
    const self = this;
    return {
      get last() {
        return self.#base + self.#outbox.last;
      },
      get settled() {
        return self.#base + self.#outbox.settled;
      },
      get paused() {
        return self.#paused;
      },
      get preferredRate() {
        return self.#options.preferredRate ?? 0;
      },
      get end() {
        return self.#end;
      },
      entryAt: (number) => self.#outbox.at(number - self.#base),
      attach: (ack) => self.#attach(ack),
      settle: (upTo, offset) => self.#settle(upTo, offset),
      reject: (rejected) => self.#reject(rejected),
      cancel: (workflowId, reason) => self.#cancel.abort(new CancelRequestedError(workflowId, reason)),
      state: (state) => {
        self.#serverState = state;
      },
      violated: (message) => {
        throw new SessionFailedError(message);
      },
    };
  }

  async #attach({ sessionId, lastSequence, rejected }: SessionInitAck): Promise<void> {
    const last = Number(lastSequence);
    const resumed = sessionId === this.#record.sessionId;
    await this.#save({ sessionId, before: this.#record.before });
    this.#sessionId = sessionId;
    if (this.#isFirst) {
      this.#isFirst = false;
      this.#base = last - this.#outbox.settled;
      // Those of an earlier process, which may not have lived to hear of them.
      for (const rejection of rejected) this.#options.onRejected?.(this.#toError(rejection));
    }
    if (last < this.#attached.settled) {
      throw new SessionFailedError(
        `session ${sessionId}: the server has ${last} entries, and had acknowledged ${this.#attached.settled}: it was restored to an earlier state`,
      );
    }
    if (last > this.#attached.last) {
      throw new SessionFailedError(`session ${sessionId}: somebody else wrote to it`);
    }
    for (const rejection of rejected) this.#reject(rejection);
    this.#settle(last, undefined);
    this.#enter("open");
    this.#opening.resolve({ sessionId, resumed, settled: this.#record.before + last });
  }

  #settle(upTo: number, offset: bigint | undefined): void {
    if (upTo > this.#attached.settled) this.#progress = true;
    const level = AckLevel.DURABLE;
    const base = this.#base;
    this.#outbox.settle(upTo - base, (number): Settled => ({ level, sequence: base + number, offset }));
  }

  #toError({ code, sequence, message }: SessionRejected): EntryRejectedError {
    const number = Number(sequence);
    return new EntryRejectedError(code, number, this.#record.before + number, message);
  }

  #reject(rejected: SessionRejected): void {
    const slot = this.#outbox.at(Number(rejected.sequence) - this.#base) as Slot<E> | undefined;
    if (slot === undefined || slot.rejection !== undefined) return; // told before
    const error = this.#toError(rejected);
    slot.rejection = error;
    this.#options.onRejected?.(error);
    if (this.#options.onRejected === undefined && !slot.observed) this.#rejected ??= error;
  }

  #assertWritable(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#end !== undefined || this.#phase === "closed") {
      throw new SessionClosedError("the session is closed; open another one");
    }
  }

  #assertWell(): void {
    const error = this.#failure ?? this.#rejected;
    this.#rejected = undefined;
    if (error !== undefined) throw error;
  }
}

/** What was thrown while an answer was taken: not a failure of the connection. */
class Violation extends Error {
  constructor(cause: unknown) {
    super("", { cause });
  }
}

const toError = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)));

function toFailure(thrown: unknown): Error {
  if (thrown instanceof SessionFailedError) return thrown;
  const error = toError(thrown);
  const lost = error instanceof ConnectError && error.code === Code.NotFound;
  return new SessionFailedError(
    lost ? `not known to the server: ${error.message}` : error.message,
    undefined,
    {
      cause: error,
    },
  );
}
