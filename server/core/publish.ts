/**
 * Writing outside sessions: one event, or many in one call. Both check the workflow's owner first, then hand commands to
 * the appender; `append` alone decides what is stored.
 */
import type { Access } from "./access.ts";
import type { Appender, Submission } from "./appender.ts";
import type { AppendEntries, Chain, CommandResult, EntriesResult } from "./command.ts";
import { DomainError } from "./errors.ts";
import { isTaskTerminal, type NewEvent, payloadSize, sizeOfAll } from "./event.ts";
import { splitAtHazards } from "./hazards.ts";
import type { Quotas } from "./quota/quotas.ts";
import { type Registry, unknownWorkflow } from "./registry.ts";
import type { TaskHints } from "./task-hints.ts";

export interface PublishDeps {
  readonly appender: Appender;
  readonly registry: Registry;
  readonly taskHints: TaskHints;
  readonly quotas: Pick<Quotas, "admit" | "admitInTurn">;
  /** An accepted entry could not be stored: the one loss that the contract allows, never a silent one. */
  readonly onDropped: (tenant: string, event: NewEvent, why: string) => void;
}

/** How long a caller that waits for the commit waits while the database is away, ms. */
export const callerPatienceMs = 10_000;

export interface Published {
  readonly durable: boolean;
  readonly duplicate: boolean;
  /** 0 unless durable and new. */
  readonly offset: number;
  readonly cancelRequested: boolean;
}

/**
 * Stores one event; answers after the commit, or when it is queued if `waitForDurable` is not asked for. `trace`: context of the
 * call, if it is sampled.
 */
export async function publishOne(
  deps: PublishDeps,
  access: Access,
  event: NewEvent,
  waitForDurable: boolean,
  trace?: string,
): Promise<Published> {
  const { identity, hints } = await deps.registry.require(access, event.workflowId);
  const { workflowId } = identity;
  const bytes = payloadSize(event.payload);
  await deps.quotas.admit(access.tenant, 1, bytes);
  const own = { ...event, workflowId };
  const mayAnswerEarly =
    !waitForDurable && !hints.closed && deps.taskHints.isKnownOpen(workflowId, event.taskExecutionId);
  const command = toCommand(
    access.tenant,
    identity.streamId,
    [own],
    bytes,
    { broken: false },
    !mayAnswerEarly,
    trace,
  );
  const submission = deps.appender.submit(command);
  if (submission.offer !== "queued") throw refusedOffer(deps.appender, command, submission);
  if (isTaskTerminal(event.type)) deps.taskHints.forget(workflowId, event.taskExecutionId);
  if (mayAnswerEarly) {
    submission.result.then(
      (result) => {
        // Once more after the commit: an event of the task that was sent before may have noted it as open meanwhile.
        if (isTaskTerminal(event.type)) deps.taskHints.forget(workflowId, event.taskExecutionId);
        const why = (result as EntriesResult).refusals[0]?.why;
        if (why === undefined) return;
        deps.taskHints.forget(workflowId, event.taskExecutionId);
        deps.appender.traffic.counts.dropped++;
        deps.onDropped(access.tenant, own, why);
      },
      (error: Error) => {
        deps.taskHints.forget(workflowId, event.taskExecutionId);
        deps.appender.traffic.counts.dropped++;
        deps.onDropped(
          access.tenant,
          own,
          error instanceof DomainError ? error.message : "the database refused it",
        );
      },
    );
    return { durable: false, duplicate: false, offset: 0, cancelRequested: hints.cancelRequested };
  }
  const result = (await submission.result.catch((error: unknown) => {
    countFailure(deps.appender, error);
    throw error;
  })) as EntriesResult;
  if (result.refusals.length > 0) throw refusedEntry(deps, own, result);
  if (isTaskTerminal(event.type)) deps.taskHints.forget(workflowId, event.taskExecutionId);
  else if (result.stored > 0) deps.taskHints.noteOpen(workflowId, event.taskExecutionId);
  const duplicate = result.duplicates > 0;
  return {
    durable: waitForDurable,
    duplicate,
    offset: waitForDurable && !duplicate ? result.lastOffset : 0,
    cancelRequested: hints.cancelRequested,
  };
}

export interface PublishTotals {
  accepted: number;
  duplicates: number;
  lastOffset: number;
}

/** A failure of one event of a call; the rest of its tree in that call is not stored. */
export interface PublishFailure {
  readonly index: number;
  readonly error: Error;
}

/** What a message has for one stream: events, and of each its number in the call. */
interface Items {
  readonly events: NewEvent[];
  readonly indexes: number[];
}

/** The end of a call, from whichever side, and what to say then. */
export interface Closing {
  readonly signal: AbortSignal;
  readonly error: () => Error;
}

/**
 * One call with many events, perhaps of several trees. Each tree is a chain: after a refused event nothing later of it is
 * stored. `add` waits for room instead of failing, so a full lane, or a tenant over its rate, slows the reading
 * of the call.
 */
export class PublishCall {
  readonly #deps: PublishDeps;
  readonly #access: Access;
  readonly #closing: Closing;
  readonly #trace: string | undefined;
  readonly #chains = new Map<string, Chain>();
  readonly #pending = new Set<Promise<void>>();
  readonly totals: PublishTotals = { accepted: 0, duplicates: 0, lastOffset: 0 };
  /** The earliest failed event so far. */
  failure: PublishFailure | undefined;

  constructor(deps: PublishDeps, access: Access, closing: Closing, trace?: string) {
    this.#trace = trace;
    this.#deps = deps;
    this.#access = access;
    this.#closing = closing;
  }

  /** Takes events; `firstIndex` counts over the whole call. Look at `failure` afterwards. */
  async add(events: readonly NewEvent[], firstIndex: number, signal: AbortSignal): Promise<void> {
    const byStream = new Map<string, Items>();
    let found: Awaited<ReturnType<Registry["require"]>> | undefined;
    let foundFor: string | undefined;
    let items: Items | undefined;
    for (let i = 0; i < events.length; i++) {
      const event = events[i] as NewEvent;
      // Runs of one workflow are the rule.
      if (found === undefined || items === undefined || event.workflowId !== foundFor) {
        try {
          found = await this.#deps.registry.require(this.#access, event.workflowId);
        } catch (error) {
          this.fail(firstIndex + i, error as Error);
          break; // nothing after it is sent; what came before is
        }
        foundFor = event.workflowId;
        const { streamId } = found.identity;
        items = byStream.get(streamId) ?? { events: [], indexes: [] };
        byStream.set(streamId, items);
      }
      const { workflowId } = found.identity;
      items.events.push(event.workflowId === workflowId ? event : { ...event, workflowId });
      items.indexes.push(firstIndex + i);
    }
    for (const [streamId, ofStream] of byStream) await this.#addToStream(streamId, ofStream, signal);
  }

  /** Waits until everything that was taken is settled. */
  async settled(): Promise<void> {
    await Promise.all(this.#pending);
  }

  #noteTasks(run: readonly NewEvent[]): void {
    let last: NewEvent | undefined;
    for (const event of run) {
      // Runs of one task are the rule; only its first event and its end say something new.
      if (last?.taskExecutionId === event.taskExecutionId && last.type === event.type) continue;
      last = event;
      if (isTaskTerminal(event.type)) this.#deps.taskHints.forget(event.workflowId, event.taskExecutionId);
      else this.#deps.taskHints.noteOpen(event.workflowId, event.taskExecutionId);
    }
  }

  fail(index: number, error: Error): void {
    if (this.failure === undefined || index < this.failure.index) this.failure = { index, error };
  }

  async #addToStream(streamId: string, { events, indexes: all }: Items, signal: AbortSignal): Promise<void> {
    const chain = this.#chains.get(streamId) ?? { broken: false };
    this.#chains.set(streamId, chain);
    let done = 0;
    for (const run of splitAtHazards(events)) {
      const indexes = run.length === all.length ? all : all.slice(done, done + run.length);
      done += run.length;
      const { tenant } = this.#access;
      const bytes = run.reduce((sum, event) => sum + payloadSize(event.payload), 0);
      const { signal: closing, error } = this.#closing;
      // A tenant's rate may be low: a server that stops does not wait for it.
      if (!(await this.#deps.quotas.admitInTurn(tenant, run.length, bytes, closing))) {
        this.fail(indexes[0] ?? 0, error());
        return;
      }
      const command = toCommand(tenant, streamId, run, bytes, chain, true, this.#trace);
      const submission = await this.#deps.appender.submitWhenRoom(command, signal);
      if (submission === undefined) return;
      if (submission.offer !== "queued") {
        this.fail(indexes[0] ?? 0, refusedOffer(this.#deps.appender, command, submission));
        return;
      }
      const pending = submission.result.then(
        (result) => this.#note(run, indexes, result),
        (error: Error) => {
          countFailure(this.#deps.appender, error);
          this.fail(indexes[0] ?? 0, error);
        },
      );
      this.#pending.add(pending);
      void pending.finally(() => this.#pending.delete(pending));
    }
  }

  #note(run: readonly NewEvent[], indexes: readonly number[], result: CommandResult): void {
    const { stored, duplicates, lastOffset, refusals } = result as EntriesResult;
    const [refused] = refusals;
    this.totals.accepted += stored;
    this.totals.duplicates += duplicates;
    this.totals.lastOffset = Math.max(this.totals.lastOffset, lastOffset);
    if (stored === run.length) this.#noteTasks(run);
    if (refused === undefined || refused.why === "skipped") return;
    const event = run[refused.index] as NewEvent;
    this.fail(indexes[refused.index] ?? 0, refusedEntry(this.#deps, event, result as EntriesResult));
  }
}

function toCommand(
  tenant: string,
  streamId: string,
  events: readonly NewEvent[],
  payloadBytes: number,
  chain: Chain,
  callerWaits: boolean,
  trace: string | undefined,
): AppendEntries {
  return {
    kind: "entries",
    tenant,
    streamId,
    lane: "normal",
    entries: events.length,
    bytes: sizeOfAll(events, payloadBytes),
    idempotent: events.every((event) => event.producerId !== ""),
    patienceMs: callerWaits ? callerPatienceMs : undefined,
    chain,
    events,
    trace,
  };
}

export function refusedOffer(
  appender: Appender,
  command: Parameters<Appender["submit"]>[0],
  submission: Exclude<Submission, { offer: "queued" }>,
): DomainError {
  const { rejections } = appender.traffic.counts;
  if (submission.offer === "closed") {
    rejections.unavailable++;
    return new DomainError("unavailable", "this server is stopping; send the event to another one");
  }
  rejections.overloaded++;
  const reading = appender.lanes.usage.read(command.lane);
  return new DomainError(
    "resource_exhausted",
    `the ${command.lane} lane is full (${reading.entries} of ${reading.capacityEntries} entries, ${reading.bytes} of ${reading.capacityBytes} bytes, of which one tenant may hold what is free); try again later`,
    { retryAfterMs: appender.retryHintMs(command.lane) },
  );
}

/** The database was away for too long, this server stops, or the entry cannot be stored. */
function countFailure({ traffic }: Appender, error: unknown): void {
  traffic.counts.rejections[error instanceof DomainError ? "unavailable" : "unstorable"]++;
}

function refusedEntry(
  { registry, appender }: Pick<PublishDeps, "registry" | "appender">,
  event: NewEvent,
  { refusals }: EntriesResult,
): DomainError {
  const why = refusals[0]?.why;
  if (why === "workflow_closed" || why === "task_closed" || why === "workflow_unknown")
    appender.traffic.counts.rejections[why]++;
  switch (why) {
    case "workflow_closed":
      return new DomainError(
        "failed_precondition",
        `workflow ${event.workflowId} is closed; its events can be read, not added to`,
      );
    case "task_closed":
      return new DomainError(
        "failed_precondition",
        `task_execution_id ${JSON.stringify(event.taskExecutionId)} has its terminal event already; use a new id for another attempt`,
      );
    case "workflow_unknown":
      registry.forget(event.workflowId);
      return unknownWorkflow(event.workflowId);
    default:
      return new DomainError(
        "failed_precondition",
        "an earlier event of this call in the same tree was refused",
      );
  }
}
