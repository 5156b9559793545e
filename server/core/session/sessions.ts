/**
 * The sessions of this instance: takes them for connections, keeps their leases, and ends them.
 *
 * Taking a session is a command of its stream like any other. So it comes after what an older connection of this instance
 * still had waiting, and raises the epoch under the stream's lock, so that what one of another instance has waiting is
 * refused. Leases are renewed each minute while a connection holds the session; any instance closes those that are over.
 * What happens to a session, or to its workflow, at another instance comes as news at once, and with the next renewal if
 * the news were lost.
 */
import { randomUUID } from "node:crypto";
import type { Access, WorkflowIdentity, WorkflowKey } from "../access.ts";
import type { Appender } from "../appender.ts";
import type { Clock } from "../clock.ts";
import type { AttachSession, Command, EndSession, FinalRejection, Lane, SessionResult } from "../command.ts";
import { DomainError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { Newsroom } from "../news.ts";
import type { CallOwner, ClosingReason, OpenCall, OpenCalls } from "../open-call.ts";
import { callerPatienceMs, refusedOffer } from "../publish.ts";
import type { Quotas } from "../quota/quotas.ts";
import { ClosedReason, type SessionInput, type SessionOutput, type SessionState } from "./messages.ts";
import { Session, type SessionTerms } from "./session.ts";
import type { SessionRecord, SessionStore } from "./session-store.ts";

export interface SessionsDeps {
  readonly appender: Appender;
  readonly store: SessionStore;
  readonly quotas: Pick<Quotas, "limitsOf" | "admitSome">;
  readonly calls: OpenCalls;
  readonly clock: Clock;
  readonly news: Newsroom;
  readonly onFailure: (message: string, error: Error) => void;
  /** Told when a session was attached, detached or closed here. Must not throw. */
  readonly onChange: (change: SessionChange) => void;
}

/** What became of a session. One that moves to another connection is attached again, without a word between. */
export interface SessionChange {
  readonly kind: "attached" | "detached" | "closed";
  readonly sessionId: string;
  readonly tenant: string;
  readonly workflowId: string | undefined;
  readonly space: string | undefined;
  /** Why it was detached or closed. */
  readonly reason: ClosedReason | undefined;
}

/** Where a session writes. */
export interface SessionTarget {
  readonly streamId: string;
  /** Of task events. */
  readonly workflow: WorkflowIdentity | undefined;
  /** Of observations. */
  readonly space: string | undefined;
}

export interface SessionInit {
  /** "": a new one. */
  readonly sessionId: string;
  readonly acceptedAcks: boolean;
  /** 0: as many as there are. */
  readonly clientBufferSize: number;
  /** 0: as large as may be. */
  readonly maxBatchSize: number;
  readonly lane: Lane;
  readonly target: SessionTarget;
  /** Trace context of the call, if it is sampled. */
  readonly trace?: string | undefined;
}

export type SessionReply =
  | {
      readonly kind: "init_ack";
      readonly sessionId: string;
      readonly lastSequence: number;
      readonly credit: number;
      readonly creditBytes: number;
      readonly maxBatchSize: number;
      readonly queueCapacity: number;
      readonly maxEventsPerSecond: number;
      readonly rejected: readonly FinalRejection[];
    }
  | SessionOutput;

const renewEveryMs = 60_000;
/** Longest wait of the last message for the end in the database, ms. */
const endWaitMs = 2000;

const reasonOfClosing: Record<ClosingReason, ClosedReason> = {
  draining: ClosedReason.DRAINING,
  credential_expired: ClosedReason.CREDENTIAL_EXPIRED,
  revoked: ClosedReason.REVOKED,
  idle_timeout: ClosedReason.DETACHED,
};

/** Ends that leave nothing to come back to. */
const isForGood = (reason: ClosedReason) => reason === ClosedReason.CLIENT || reason === ClosedReason.ADMIN;

interface Attached {
  readonly session: Session;
  readonly workflow: WorkflowIdentity | undefined;
}

export class Sessions {
  readonly #deps: SessionsDeps;
  readonly #attached = new Map<string, Attached>();
  #cancelTimer = () => {};

  constructor(deps: SessionsDeps) {
    this.#deps = deps;
    deps.news.on("cancel_requested", (news) => this.noteCancel(news, news.reason));
    deps.news.on("session_taken", ({ sessionId, epoch }) => {
      const live = this.#attached.get(sessionId)?.session;
      if (live !== undefined && live.terms.epoch < epoch) live.end(ClosedReason.SUPERSEDED);
    });
    deps.news.on("session_ended", ({ sessionId }) =>
      this.#attached.get(sessionId)?.session.end(ClosedReason.ADMIN),
    );
    this.#schedule();
  }

  /** How many connections of this instance hold a session of the tenant; undefined: of any. */
  attached(tenant: string | undefined): number {
    if (tenant === undefined) return this.#attached.size;
    let count = 0;
    for (const { session } of this.#attached.values()) if (session.terms.tenant === tenant) count++;
    return count;
  }

  /** The state of each. */
  *states(): Generator<SessionState> {
    for (const { session } of this.#attached.values()) yield session.state;
  }

  close(): void {
    this.#cancelTimer();
  }

  /** A connection: takes the session, then runs it. What is wrong with the request is thrown before the first message. */
  async *run(
    access: Access,
    owner: CallOwner,
    init: SessionInit,
    inputs: AsyncIterable<SessionInput>,
    signal: AbortSignal,
  ): AsyncGenerator<SessionReply> {
    const call = this.#deps.calls.open("writer", owner);
    try {
      yield* this.#run(access, call, init, inputs, signal);
    } finally {
      call.end();
    }
  }

  async *#run(
    access: Access,
    call: OpenCall,
    init: SessionInit,
    inputs: AsyncIterable<SessionInput>,
    signal: AbortSignal,
  ): AsyncGenerator<SessionReply> {
    const { terms, taken } = await this.#attach(access, init);
    const { sessionId, epoch } = terms;
    if (init.sessionId !== "") this.#deps.news.tell("session_taken", { sessionId, epoch });
    this.#tell("attached", terms, undefined);
    const session = new Session(this.#deps, terms);
    const attached = { session, workflow: init.target.workflow };
    const other = this.#attached.get(terms.sessionId)?.session;
    if (other !== undefined && other.terms.epoch > terms.epoch) session.end(ClosedReason.SUPERSEDED);
    else {
      other?.end(ClosedReason.SUPERSEDED);
      this.#attached.set(terms.sessionId, attached);
    }
    const stopListening = call.onClosing(() => {
      const { reason = "draining", reconnectAfterMs = 0 } = call.closing ?? {};
      session.end(reasonOfClosing[reason], { reconnectAfterMs });
    });
    let reason: ClosedReason | undefined;
    let detached = false;
    try {
      yield this.#initAck(terms, taken);
      for (const { workflowId, reason: why } of taken.cancels) session.requestCancel(workflowId, why);
      reason = yield* session.run(inputs, signal);
      if (reason === undefined) return;
      if (isForGood(reason)) reason = await this.#endForGood(terms, reason);
      else if (reason !== ClosedReason.SUPERSEDED) {
        detached = true;
        await this.#detach(terms, reason);
      }
      yield session.closed(reason === ClosedReason.SUPERSEDED ? await this.#whoTookIt(terms) : reason);
    } finally {
      stopListening();
      if (this.#attached.get(terms.sessionId) === attached) this.#attached.delete(terms.sessionId);
      if (reason === undefined && !detached) await this.#detach(terms, ClosedReason.DETACHED);
    }
  }

  async #attach(access: Access, init: SessionInit): Promise<{ terms: SessionTerms; taken: SessionResult }> {
    const { streamId, workflow, space } = init.target;
    const resume = init.sessionId !== "";
    const sessionId = resume ? init.sessionId.toLowerCase() : randomUUID();
    if (resume) {
      const found = await this.#require(access, sessionId);
      if (found.streamId !== streamId || found.workflowId !== workflow?.workflowId) {
        throw otherTarget(sessionId, found);
      }
      // From now on the older connection takes nothing more; what it took is settled before this one begins.
      this.#attached.get(sessionId)?.session.end(ClosedReason.SUPERSEDED);
    }
    const tenantLimits = await this.#deps.quotas.limitsOf(access.tenant);
    const command: AttachSession = {
      ...this.#base(access.tenant, streamId, init.lane),
      kind: "attach",
      sessionId,
      workflowId: workflow?.workflowId,
      resume,
      leaseMs: limits.sessionLeaseMs,
      maxSessions: tenantLimits.maxSessions,
    };
    const taken = await this.#submit(command);
    switch (taken.result) {
      case "attached":
        break;
      case "ended":
        throw new DomainError(
          "failed_precondition",
          `session_id: ${sessionId} has ended; its last settled sequence is ${taken.lastSequence}: begin a new session with what came after it`,
          { endedAtSequence: taken.lastSequence },
        );
      case "too_many":
        this.#deps.appender.traffic.counts.quotas.max_sessions++;
        throw new DomainError(
          "resource_exhausted",
          `the tenant has all ${tenantLimits.maxSessions} sessions that its limits allow (max_sessions, all servers together); close some, or wait until their leases end`,
          { retryAfterMs: limits.sessionLeaseMs },
        );
      default:
        throw unknownSession(sessionId);
    }
    const terms: SessionTerms = {
      sessionId,
      tenant: access.tenant,
      streamId,
      workflowId: workflow?.workflowId,
      space,
      epoch: taken.epoch,
      lastSequence: taken.lastSequence,
      lastOffset: taken.lastOffset,
      lane: init.lane,
      maxBatch: Math.min(init.maxBatchSize || limits.batchEntries, limits.batchEntries),
      credit: Math.min(init.clientBufferSize || limits.sessionCredit, limits.sessionCredit),
      acceptedAcks: init.acceptedAcks,
      tenantLimits,
      trace: init.trace,
    };
    return { terms, taken };
  }

  #initAck(terms: SessionTerms, taken: SessionResult): SessionReply {
    return {
      kind: "init_ack",
      sessionId: terms.sessionId,
      lastSequence: terms.lastSequence,
      credit: terms.credit,
      creditBytes: limits.sessionCreditBytes,
      maxBatchSize: terms.maxBatch,
      queueCapacity: limits.laneEntries[terms.lane],
      maxEventsPerSecond: terms.tenantLimits.maxEventsPerSecond,
      rejected: taken.rejections,
    };
  }

  /** Somebody asked for a stop: the sessions of that workflow and of those below it are told. */
  noteCancel({ workflowId, streamId }: WorkflowKey, reason: string): void {
    for (const { session, workflow } of this.#attached.values()) {
      if (workflow?.streamId !== streamId || !workflow.path.includes(workflowId)) continue;
      session.requestCancel(workflowId, reason);
    }
  }

  /** What is known of a session, with its live state if a connection of this instance holds it. */
  withLiveState(record: SessionRecord): SessionRecord {
    const live = this.#attached.get(record.sessionId)?.session;
    return live === undefined || live.terms.epoch !== record.epoch
      ? record
      : { ...record, state: live.state };
  }

  /** Ends a session for good, wherever its connection is. */
  async end(record: SessionRecord): Promise<void> {
    // Here it stops at once; elsewhere with the news, and the epoch refuses what still comes.
    this.#attached.get(record.sessionId)?.session.end(ClosedReason.ADMIN);
    const command: EndSession = {
      ...this.#base(record.tenant, record.streamId, "high"),
      kind: "end",
      sessionId: record.sessionId,
      reason: ClosedReason.ADMIN,
      epoch: undefined,
    };
    const { result } = await this.#submit(command);
    if (result === "unknown") throw unknownSession(record.sessionId);
    this.#deps.news.tell("session_ended", { sessionId: record.sessionId });
    if (result === "ended") this.#tell("closed", record, ClosedReason.ADMIN);
  }

  /** Renews the leases of what is attached here, and closes what nobody has renewed. */
  async keepLeases(): Promise<void> {
    const attached = [...this.#attached.values()].map(({ session }) => ({
      sessionId: session.terms.sessionId,
      epoch: session.terms.epoch,
      state: session.state,
    }));
    if (attached.length > 0) {
      const lost = await this.#deps.store.renew(attached, limits.sessionLeaseMs);
      for (const { sessionId, closedReason } of lost) {
        const live = this.#attached.get(sessionId)?.session;
        // Only the connection that was asked about; a newer one may hold the session by now.
        if (live?.terms.epoch !== attached.find((asked) => asked.sessionId === sessionId)?.epoch) continue;
        live?.end((closedReason as ClosedReason | undefined) ?? ClosedReason.SUPERSEDED);
      }
      await this.#lookForCancels();
    }
    for (const expired of await this.#deps.store.expire())
      this.#tell("closed", expired, ClosedReason.LEASE_EXPIRED);
  }

  /** In case the news of a request were lost: whoever was told already is not told again. */
  async #lookForCancels(): Promise<void> {
    const workflows = new Set<string>();
    for (const { workflow } of this.#attached.values())
      for (const id of workflow?.path ?? []) workflows.add(id);
    for (const request of await this.#deps.store.pendingCancels([...workflows]))
      this.noteCancel(request, request.reason);
  }

  #schedule(): void {
    this.#cancelTimer = this.#deps.clock.after(renewEveryMs, () => {
      this.keepLeases()
        .catch((error: Error) =>
          this.#deps.onFailure(
            "the leases of sessions could not be renewed; trying again in a minute",
            error,
          ),
        )
        .finally(() => this.#schedule());
    });
  }

  async #require(access: Access, sessionId: string): Promise<SessionRecord> {
    const found = await this.#deps.store.find(sessionId);
    if (found === undefined) throw unknownSession(sessionId);
    if (found.tenant !== access.tenant) {
      throw new DomainError(
        "permission_denied",
        `session ${sessionId} belongs to another tenant; use a credential of that tenant`,
      );
    }
    return found;
  }

  #tell(
    kind: SessionChange["kind"],
    { sessionId, tenant, workflowId, space }: Omit<SessionChange, "kind" | "reason">,
    reason: ClosedReason | undefined,
  ): void {
    this.#deps.onChange({ kind, sessionId, tenant, workflowId, space, reason });
  }

  async #detach(terms: SessionTerms, reason: ClosedReason): Promise<void> {
    const { sessionId, epoch } = terms;
    try {
      if (await this.#deps.store.detach(sessionId, epoch, limits.sessionLeaseMs))
        this.#tell("detached", terms, reason);
    } catch (error) {
      this.#tell("detached", terms, reason);
      // The lease that runs ends it.
      this.#deps.onFailure(`session ${sessionId} could not be noted as detached`, error as Error);
    }
  }

  /**
   * Ends the session in the database. A stream that somebody else has locked must not keep the client from its last
   * message: then the end is written when the lock is free, or the lease ends the session.
   */
  async #endForGood(terms: SessionTerms, reason: ClosedReason): Promise<ClosedReason> {
    const ended = this.#submit(this.#endCommand(terms, reason)).then(
      (answer) => {
        if (answer.result === "ended") this.#tell("closed", terms, reason);
        return answer;
      },
      (error: Error) => {
        this.#deps.onFailure(
          `the end of session ${terms.sessionId} could not be noted; its lease ends it`,
          error,
        );
        return undefined;
      },
    );
    let cancel = () => {};
    const late = new Promise<undefined>((resolve) => {
      cancel = this.#deps.clock.after(endWaitMs, () => resolve(undefined));
    });
    const answer = await Promise.race([ended, late]);
    cancel();
    return answer?.result === "fenced" ? ClosedReason.SUPERSEDED : reason;
  }

  /** Refused by the epoch: by another connection, or by somebody who ended the session. */
  async #whoTookIt({ sessionId }: SessionTerms): Promise<ClosedReason> {
    const found = await this.#deps.store.find(sessionId).catch(() => undefined);
    const reason = (found?.closedReason as ClosedReason | undefined) ?? ClosedReason.SUPERSEDED;
    // Closed by the other connection's client, not by this one's, which may have more to say.
    return reason === ClosedReason.CLIENT ? ClosedReason.SUPERSEDED : reason;
  }

  #endCommand(terms: SessionTerms, reason: ClosedReason): EndSession {
    return {
      ...this.#base(terms.tenant, terms.streamId, terms.lane),
      patienceMs: undefined,
      kind: "end",
      sessionId: terms.sessionId,
      reason,
      epoch: terms.epoch,
    };
  }

  #base(tenant: string, streamId: string, lane: Lane) {
    return { tenant, streamId, lane, entries: 1, bytes: 100, idempotent: true, patienceMs: callerPatienceMs };
  }

  async #submit(command: Command): Promise<SessionResult> {
    const submission = this.#deps.appender.submit(command);
    if (submission.offer !== "queued") throw refusedOffer(this.#deps.appender, command, submission);
    return (await submission.result) as SessionResult;
  }
}

const unknownSession = (sessionId: string) =>
  new DomainError(
    "not_found",
    `session_id: ${sessionId} does not exist; leave it empty to begin a new session`,
  );

const otherTarget = (sessionId: string, found: SessionRecord) =>
  new DomainError(
    "failed_precondition",
    `session_id: ${sessionId} writes to ${found.workflowId === undefined ? `the memory space ${found.space}` : `workflow ${found.workflowId}`}; resume it with the same target, or begin a new session`,
  );
