/**
 * MemoryFlow: one session and many recalls over one call.
 *
 * Guarantees: each source (the session, each recall) has at most one message waiting here and they are sent in the order in
 * which they became ready, so that none keeps another from its turn; a recall that fails or ends concerns its label alone;
 * the session's `closed` is the last message of the call. After a half-close what ends by itself runs to its end: recalls
 * without follow, then the session, which is detached; without a session recalls with follow go on too.
 */
import type { Access } from "../access.ts";
import { DomainError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { CallOwner, ClosingReason } from "../open-call.ts";
import { ClosedReason, type SessionInput } from "../session/messages.ts";
import { RejectionCode } from "../session/rejection.ts";
import type { SessionInit, SessionReply, Sessions } from "../session/sessions.ts";
import { Wakeup } from "../wakeup.ts";
import { Handoff } from "./handoff.ts";
import { type RecallDeps, type RecallMessage, type RecallRequest, recall } from "./recall.ts";

export interface FlowDeps extends RecallDeps {
  readonly sessions: Sessions;
}

export type FlowInput =
  | { readonly kind: "init"; readonly space: string; readonly session: Omit<SessionInit, "target"> }
  | { readonly kind: "session"; readonly input: SessionInput }
  /** `request` is an error if it is malformed. */
  | { readonly kind: "recall"; readonly label: string; readonly request: RecallRequest | DomainError }
  | { readonly kind: "cancel"; readonly label: string };

export type FlowOutput =
  | { readonly kind: "reply"; readonly reply: SessionReply }
  | { readonly kind: "recall"; readonly label: string; readonly message: RecallMessage }
  | { readonly kind: "error"; readonly label: string; readonly error: unknown }
  | { readonly kind: "done"; readonly label: string };

/** Something that is read one message at a time. */
interface Source {
  readonly iterator: AsyncGenerator<SessionReply | RecallMessage>;
  /** undefined: the session. */
  readonly label: string | undefined;
  readonly follows: boolean;
  readonly abort: AbortController;
  readonly unlink: () => void;
  gone: boolean;
}

type Ready =
  | { readonly source: Source; readonly result: IteratorResult<SessionReply | RecallMessage> }
  | { readonly source: Source; readonly error: unknown }
  | { readonly output: FlowOutput };

const labelForm = /^\P{Cc}{1,255}$/u;

export async function* memoryFlow(
  deps: FlowDeps,
  access: Access,
  owner: CallOwner,
  inputs: AsyncIterable<FlowInput>,
  signal: AbortSignal,
): AsyncGenerator<FlowOutput> {
  const flow = new Flow(deps, access, owner, signal);
  const call = deps.calls.open("reader", owner);
  const stopListening = call.onClosing(() => flow.close());
  try {
    yield* flow.run(inputs);
  } finally {
    stopListening();
    await flow.leave();
    call.end();
  }
}

class Flow {
  readonly #deps: FlowDeps;
  readonly #access: Access;
  readonly #owner: CallOwner;
  readonly #signal: AbortSignal;
  readonly #wakeup = new Wakeup();
  readonly #ring = () => this.#wakeup.ring();
  readonly #recalls = new Map<string, Source>();
  readonly #leaving = new Set<Promise<unknown>>();
  readonly #ready: Ready[] = [];
  readonly #said = new Handoff<SessionInput>();
  readonly #settled = new Wakeup();
  #session: Source | undefined;
  /** Nothing more is taken: the client half-closed, or the server ends the call. */
  #closed = false;
  #left = false;
  #failure: unknown;

  constructor(deps: FlowDeps, access: Access, owner: CallOwner, signal: AbortSignal) {
    this.#deps = deps;
    this.#access = access;
    this.#owner = owner;
    this.#signal = signal;
    signal.addEventListener("abort", this.#ring, { once: true });
  }

  /** The call ends when the session and the recalls have, which are told by themselves. */
  close(): void {
    this.#closed = true;
    this.#ring();
  }

  async *run(inputs: AsyncIterable<FlowInput>): AsyncGenerator<FlowOutput> {
    void this.#read(inputs);
    while (!this.#signal.aborted) {
      if (this.#failure !== undefined) throw this.#failure;
      const ready = this.#ready.shift();
      if (ready === undefined) {
        if (this.#closed && this.#session === undefined && this.#recalls.size === 0) return;
        await this.#wakeup.wait();
      } else if ("output" in ready) yield ready.output;
      else if (ready.source.gone) continue;
      else if ("error" in ready) yield this.#fail(ready.source, ready.error);
      else if (ready.result.done === true) {
        this.#drop(ready.source);
        if (ready.source.label !== undefined) yield { kind: "done", label: ready.source.label };
      } else {
        const { label } = ready.source;
        if (label !== undefined) {
          yield { kind: "recall", label, message: ready.result.value as RecallMessage };
        } else {
          const reply = ready.result.value as SessionReply;
          if (reply.kind === "closed") return yield* this.#end(reply);
          yield { kind: "reply", reply };
        }
        this.#pull(ready.source);
      }
    }
    this.#signal.throwIfAborted();
  }

  /** Lets everything go; resolves when nothing of it is left. */
  async leave(): Promise<void> {
    this.#left = true;
    this.#signal.removeEventListener("abort", this.#ring);
    this.#said.end();
    this.#settled.ring();
    for (const source of this.#recalls.values()) this.#drop(source);
    if (this.#session !== undefined) this.#drop(this.#session);
    await Promise.all(this.#leaving);
  }

  // --- what the client says

  async #read(inputs: AsyncIterable<FlowInput>): Promise<void> {
    try {
      for await (const input of inputs) {
        if (this.#left) return;
        if (this.#closed) continue; // read on, so that the client is not stuck in writing
        await this.#take(input);
      }
      while (!this.#left && this.#recalls.values().some(({ follows }) => !follows))
        await this.#settled.wait();
      this.#said.end();
      this.close();
    } catch (error) {
      this.#failure = error;
      this.#ring();
    }
  }

  async #take(input: FlowInput): Promise<void> {
    switch (input.kind) {
      case "init":
        return this.#init(input.space, input.session);
      case "session":
        return this.#takeSessionInput(input.input);
      case "recall":
        this.#takeRecall(input.label, input.request);
        break;
      case "cancel":
        this.#cancel(input.label);
    }
    // To the session its client is alive.
    if (this.#session !== undefined) await this.#said.give({ kind: "heartbeat" });
  }

  async #init(space: string, session: Omit<SessionInit, "target">): Promise<void> {
    if (this.#session !== undefined) {
      throw new DomainError(
        "failed_precondition",
        "operation: a flow has one session, begun by one init; open another call for another session",
      );
    }
    const { streamId } = await this.#deps.spaces.require(this.#access, space);
    const init = { ...session, target: { streamId, workflow: undefined, space } };
    this.#session = this.#add(undefined, true, (signal) =>
      this.#deps.sessions.run(this.#access, this.#owner, init, this.#said, signal),
    );
  }

  async #takeSessionInput(input: SessionInput): Promise<void> {
    if (this.#session !== undefined) return this.#said.give(input);
    switch (input.kind) {
      case "heartbeat":
        return;
      case "close":
        for (const label of [...this.#recalls.keys()]) this.#cancel(label);
        return this.close();
      case "bad":
        this.#push({ output: { kind: "reply", reply: badMessage(input.message) } });
        return;
      default:
        throw new DomainError(
          "failed_precondition",
          `operation: ${input.kind} before init; a session begins with init`,
        );
    }
  }

  #takeRecall(label: string, request: RecallRequest | DomainError): void {
    if (this.#recalls.has(label)) {
      throw new DomainError(
        "already_exists",
        `recall.label: ${JSON.stringify(label)} is open; cancel it first, or choose another label`,
      );
    }
    const wrong = request instanceof DomainError ? request : this.#whyNot(label);
    if (wrong !== undefined) {
      this.#push({ output: { kind: "error", label, error: wrong } });
      return;
    }
    const asked = request as RecallRequest;
    this.#recalls.set(
      label,
      this.#add(label, asked.follow, (signal) =>
        recall(this.#deps, this.#access, this.#owner, asked, signal),
      ),
    );
  }

  #whyNot(label: string): DomainError | undefined {
    if (!labelForm.test(label)) {
      return new DomainError(
        "invalid_argument",
        `recall.label: must have 1 to 255 printable characters, found ${JSON.stringify(label.slice(0, 80))}`,
      );
    }
    if (this.#recalls.size < limits.flowRecalls) return undefined;
    return new DomainError(
      "resource_exhausted",
      `recall: ${limits.flowRecalls} are open on this call, more are not possible; cancel some, or open another call`,
      { retryAfterMs: 1000 },
    );
  }

  /** Unknown: it may just have ended. */
  #cancel(label: string): void {
    const source = this.#recalls.get(label);
    if (source === undefined) return;
    this.#drop(source);
    this.#push({ output: { kind: "done", label } });
  }

  // --- sources

  #add(
    label: string | undefined,
    follows: boolean,
    start: (signal: AbortSignal) => AsyncGenerator<SessionReply | RecallMessage>,
  ): Source {
    const abort = new AbortController();
    const onAbort = () => abort.abort(this.#signal.reason);
    if (this.#signal.aborted) onAbort();
    this.#signal.addEventListener("abort", onAbort, { once: true });
    const unlink = () => this.#signal.removeEventListener("abort", onAbort);
    const source: Source = { iterator: start(abort.signal), label, follows, abort, unlink, gone: false };
    this.#pull(source);
    return source;
  }

  #pull(source: Source): void {
    if (source.gone) return;
    source.iterator.next().then(
      (result) => this.#push({ source, result }),
      (error: unknown) => this.#push({ source, error }),
    );
  }

  #push(ready: Ready): void {
    this.#ready.push(ready);
    this.#ring();
  }

  /** Stops it, and cleans up beside: the next message need not wait for that. */
  #drop(source: Source): void {
    if (source.gone) return;
    source.gone = true;
    source.abort.abort();
    source.unlink();
    const returned = source.iterator.return(undefined).catch(() => {}); // it was dropped: nobody asks how it ended
    this.#leaving.add(returned);
    void returned.finally(() => this.#leaving.delete(returned));
    if (source.label === undefined) this.#session = undefined;
    else this.#recalls.delete(source.label);
    this.#settled.ring();
  }

  #fail(source: Source, error: unknown): FlowOutput {
    this.#drop(source);
    if (source.label === undefined) throw error;
    return { kind: "error", label: source.label, error };
  }

  /** With the session the call ends. */
  *#end(closed: Extract<SessionReply, { kind: "closed" }>): Generator<FlowOutput> {
    const reason = closingOf[closed.reason];
    for (const label of [...this.#recalls.keys()]) {
      const { reconnectAfterMs } = closed;
      if (reason !== undefined) {
        yield { kind: "recall", label, message: { kind: "closing", reason, reconnectAfterMs } };
      }
      this.#cancel(label);
    }
    for (const ready of this.#ready.splice(0)) if ("output" in ready) yield ready.output;
    yield { kind: "reply", reply: closed };
  }
}

/** Ends of a session that end its recalls in the same words. */
const closingOf: Partial<Record<ClosedReason, ClosingReason>> = {
  [ClosedReason.DRAINING]: "draining",
  [ClosedReason.CREDENTIAL_EXPIRED]: "credential_expired",
  [ClosedReason.REVOKED]: "revoked",
};

const badMessage = (message: string): SessionReply => ({
  kind: "rejected",
  sequence: 0,
  expectedSequence: 1,
  code: RejectionCode.BAD_MESSAGE,
  message,
  retryAfterMs: 0,
  final: false,
});
