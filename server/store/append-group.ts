/**
 * Turns a group of commands into the arrays of `append`, and its answer back into one result a command and one notice
 * a stream. Pure, so that it can be tested without a database.
 *
 * A notice carries its entries when the group only added events to the stream; after a change of lifecycle or variables
 * the hub reads them from the store instead of having them composed twice.
 */
import type {
  AppendAnswer,
  AppendGroup,
  Decision,
  OpAnswer,
  RejectionRow,
} from "../../db/statements/append-group.ts";
import type {
  Command,
  CommandResult,
  FinalRejection,
  LifecycleResult,
  Refusal,
  SessionResult,
  VariablesResult,
} from "../core/command.ts";
import { type NewEvent, payloadSize, type StoredEvent } from "../core/event.ts";
import type { GroupResult, Notice } from "../core/ports.ts";
import { toFinalRejection } from "../core/session/rejection.ts";
import { traceToBytes } from "../core/traceparent.ts";
import { toPlainPart } from "./plain-part.ts";

const refusalOf: Partial<Record<Decision, Refusal>> = {
  3: "workflow_closed",
  4: "task_closed",
  5: "workflow_unknown",
  6: "skipped",
  7: "fenced",
  8: "passed",
  9: "observation_exists",
};

/** Of no payload. */
const noSlice = { start: 1, size: -1 };

/** One place an entry: arrays that grow leave three times as much behind for the garbage collector. */
const column = <T>(entries: number): T[] => new Array<T>(entries);

export function toAppendGroup(commands: readonly Command[]): AppendGroup {
  // In the order in which they are locked.
  const streams = [
    ...new Set(commands.filter((command) => !isRoot(command)).map(({ streamId }) => streamId)),
  ];
  streams.sort();
  const streamNo = new Map(streams.map((id, i) => [id, i + 1]));
  const keyNo = new Map<string, number>();
  const chainNo = new Map<object, number>();
  const keyStream: number[] = [];
  const keyWorkflow: string[] = [];
  const keyTask: string[] = [];
  const keyProducer: string[] = [];
  const keyEpoch: number[] = [];
  const entries = commands.reduce((sum, command) => sum + entriesOf(command).length, 0);
  const entryKey = column<number>(entries);
  const entrySequence = column<number>(entries);
  const entryType = column<number>(entries);
  const entryTimestamp = column<number>(entries);
  const entryStart = column<number>(entries);
  const entrySize = column<number>(entries);
  const entryIsText = column<boolean>(entries);
  const entryChain = column<number>(entries);
  let at = 0;
  const observationEntry: number[] = [];
  const observationId: string[] = [];
  const observationMetadata: string[] = [];
  const observationConfidence: number[] = [];
  const observationImportance: number[] = [];
  const observationObserved: number[] = [];
  const ops: object[] = [];
  const payloads: (string | Uint8Array)[] = [];
  let payloadBytes = 0;
  // Made with the first entry that has a trace context: usually none has.
  let entryTrace: number[] | undefined;
  const traceNo = new Map<string, number>();
  const traces: Uint8Array[] = [];

  const addSlice = (payload: string | Uint8Array) => {
    const start = payloadBytes + 1;
    const size = payloadSize(payload);
    payloads.push(payload);
    payloadBytes += size;
    return { start, size };
  };
  const noOf = <K>(map: Map<K, number>, key: K, add: () => void): number => {
    let no = map.get(key);
    if (no === undefined) {
      add();
      no = map.size + 1;
      map.set(key, no);
    }
    return no;
  };

  for (const command of commands) {
    const stream = streamNo.get(command.streamId) ?? 0;
    if (command.kind !== "entries") {
      ops.push(
        command.kind === "attach" || command.kind === "end"
          ? toSessionOp(command)
          : command.kind === "set_variables" || command.kind === "delete_variable"
            ? toVariablesOp(command)
            : toLifecycleOp(command, addSlice),
      );
      continue;
    }
    const epoch = command.session?.epoch ?? 0;
    const chain = epoch > 0 ? 0 : noOf(chainNo, command.chain, () => {});
    let key = 0;
    let last: NewEvent | undefined;
    for (const event of command.events) {
      if (!isOfSameKey(event, last)) {
        key = noOf(
          keyNo,
          `${event.workflowId}\n${event.taskExecutionId}\n${event.producerId}\n${stream}\n${epoch}`,
          () => {
            keyStream.push(stream);
            keyWorkflow.push(event.workflowId);
            keyTask.push(event.taskExecutionId);
            keyProducer.push(event.producerId);
            keyEpoch.push(epoch);
          },
        );
      }
      last = event;
      const { payload } = event;
      const size = payload === undefined ? -1 : payloadSize(payload);
      entryKey[at] = key;
      entrySequence[at] = event.sequence;
      entryType[at] = event.type;
      entryTimestamp[at] = event.timestampMs;
      entryStart[at] = payload === undefined ? 1 : payloadBytes + 1;
      entrySize[at] = size;
      entryIsText[at] = typeof payload === "string";
      entryChain[at] = chain;
      at++;
      if (payload !== undefined) {
        payloads.push(payload);
        payloadBytes += size;
      }
      if (event.traceparent !== undefined) {
        const { traceparent } = event;
        entryTrace ??= [];
        // Those before it have none.
        while (entryTrace.length < at - 1) entryTrace.push(0);
        entryTrace.push(noOf(traceNo, traceparent, () => traces.push(traceToBytes(traceparent))));
      }
      if (event.observation === undefined) continue;
      const { observationId: id, metadata, confidence, importance, observedMs } = event.observation;
      observationEntry.push(at);
      observationId.push(id);
      observationMetadata.push(metadata);
      observationConfidence.push(confidence);
      observationImportance.push(importance);
      observationObserved.push(observedMs);
    }
  }
  const group = {
    streams,
    keyStream,
    keyWorkflow,
    keyTask,
    keyProducer,
    keyEpoch,
    entryKey,
    entrySequence,
    entryType,
    entryTimestamp,
    entryStart,
    entrySize,
    entryIsText,
    entryChain,
    observationEntry,
    observationId,
    observationMetadata,
    observationConfidence,
    observationImportance,
    observationObserved,
    ops,
    payloads,
    payloadBytes,
    entryTrace,
    traces: entryTrace === undefined ? undefined : Buffer.concat(traces),
  };
  return { ...group, plain: toPlainPart(group) };
}

const noEntries: readonly NewEvent[] = [];
const entriesOf = (command: Command): readonly NewEvent[] =>
  command.kind === "entries" ? command.events : noEntries;

/** Its stream begins with it: there is nothing to lock. */
const isRoot = (command: Command): boolean =>
  command.kind === "create" && command.parentWorkflowId === undefined;

const isOfSameKey = (event: NewEvent, before: NewEvent | undefined): boolean =>
  event.workflowId === before?.workflowId &&
  event.taskExecutionId === before.taskExecutionId &&
  event.producerId === before.producerId;

function toSessionOp(command: Extract<Command, { kind: "attach" | "end" }>): object {
  const common = { op: command.kind, stream: command.streamId, session: command.sessionId };
  return command.kind === "end"
    ? { ...common, reason: command.reason, epoch: command.epoch }
    : {
        ...common,
        tenant: command.tenant,
        workflow: command.workflowId,
        resume: command.resume,
        leaseMs: command.leaseMs,
        maxSessions: command.maxSessions,
      };
}

function toVariablesOp(command: Extract<Command, { kind: "set_variables" | "delete_variable" }>): object {
  const { kind: op, streamId: stream, workflowId: workflow, source } = command;
  if (command.kind === "delete_variable") {
    return { op, stream, workflow, source, name: command.name, expected: command.expectedVersion };
  }
  const items = command.items.map((item) => ({
    n: item.name,
    t: item.type,
    v: item.value,
    c: item.constraints,
    m: item.metadata,
    x: item.clearMetadata,
    e: item.expectedVersion,
    r: item.rulesVersion,
  }));
  return { op, stream, workflow, source, full: command.full, items };
}

function toLifecycleOp(
  command: Extract<Command, { kind: "create" | "close" | "cancel" }>,
  addSlice: (payload: string) => { start: number; size: number },
): object {
  const common = {
    op: command.kind,
    stream: command.streamId,
    workflow: command.workflowId,
    ...(payloadSize(command.payload) === 0 ? noSlice : addSlice(command.payload)),
  };
  switch (command.kind) {
    case "create":
      return {
        ...common,
        tenant: command.tenant,
        parent: command.parentWorkflowId,
        name: command.name,
        metadata: command.metadata,
        retentionMaxAgeMs: command.retentionMaxAgeMs,
        retentionMaxEvents: command.retentionMaxEvents,
      };
    case "close": {
      const descendant = addSlice(command.descendantPayload);
      return {
        ...common,
        status: command.status,
        closeDescendants: command.closeDescendants,
        descendantStart: descendant.start,
        descendantSize: descendant.size,
      };
    }
    case "cancel":
      return { ...common, reason: command.reason };
  }
}

export function toGroupResult(
  commands: readonly Command[],
  group: AppendGroup,
  answer: AppendAnswer,
): GroupResult {
  const next = new Map(group.streams.map((id, i) => [id, answer.firstOffsets[i] ?? 1]));
  const appended = new Map<string, StoredRun[] | undefined>();
  const results: CommandResult[] = [];
  let entryNo = 0;
  let opNo = 0;
  for (const command of commands) {
    if (command.kind !== "entries") {
      const op = answer.opResults[opNo++] ?? { result: "unknown" };
      if (command.kind === "attach" || command.kind === "end") {
        results.push(toSessionResult(op));
        continue;
      }
      if (command.kind === "set_variables" || command.kind === "delete_variable") {
        if (op.offset !== undefined) appended.set(command.streamId, undefined);
        results.push(toVariablesResult(op, answer.recordedMs));
        continue;
      }
      appended.set(command.streamId, undefined);
      results.push({
        kind: "lifecycle",
        result: op.result as LifecycleResult["result"],
        offset: op.offset ?? 0,
        status: op.status ?? 0,
        open: op.open ?? 0,
        most: op.most ?? 0,
      });
      continue;
    }
    const runs = appended.get(command.streamId) ?? [];
    appended.set(command.streamId, runs);
    const first = next.get(command.streamId) ?? 1;
    let events = command.events;
    let duplicates = 0;
    const refusals: { index: number; why: Refusal }[] = [];
    const { decisions } = answer;
    if (decisions !== undefined) {
      events = command.events.filter((_, index) => {
        const decision = decisions[entryNo++] ?? 1;
        if (decision === 2) duplicates++;
        else if (decision !== 1) refusals.push({ index, why: refusalOf[decision] ?? "skipped" });
        return decision === 1;
      });
    }
    runs.push({ events, first });
    next.set(command.streamId, first + events.length);
    const lastOffset = events.length > 0 ? first + events.length - 1 : 0;
    results.push({ kind: "entries", stored: events.length, duplicates, lastOffset, refusals });
  }
  return { results, notices: toNotices(group, answer, appended) };
}

function toSessionResult(op: OpAnswer): SessionResult {
  return {
    kind: "session",
    result: op.result as SessionResult["result"],
    epoch: op.epoch ?? 0,
    lastSequence: op.lastSequence ?? 0,
    lastOffset: op.lastOffset ?? 0,
    rejections: (op.rejections ?? []).flatMap(toRejection),
    cancels: (op.cancels ?? []).map(({ workflow, reason }) => ({ workflowId: workflow, reason })),
  };
}

function toVariablesResult(op: OpAnswer, recordedMs: number): VariablesResult {
  const kind = "variables";
  switch (op.result) {
    case "set": {
      const items = (op.set ?? []).map(([version, rulesVersion, createdMs, metadata]) => ({
        version,
        rulesVersion,
        createdMs,
        metadata: metadata ?? {},
      }));
      return { kind, result: "set", offset: op.offset ?? 0, recordedMs, items };
    }
    case "deleted":
      return { kind, result: "deleted", offset: op.offset ?? 0 };
    case "conflict":
      return {
        kind,
        result: "conflict",
        conflicts: (op.conflicts ?? []).map(([index, version]) => ({ index, version })),
      };
    case "rules":
      return { kind, result: "rules", stale: op.stale ?? [] };
    case "metadata":
      return { kind, result: "metadata", large: op.large ?? [] };
    case "closed":
      return { kind, result: "closed", status: op.status ?? 0 };
    default:
      return { kind, result: op.result === "missing" ? "missing" : "unknown" };
  }
}

function toRejection(row: RejectionRow): FinalRejection[] {
  if (row.code !== undefined) {
    return [{ sequence: row.sequence, code: row.code, message: row.message ?? "" }];
  }
  const why = row.refusal === undefined ? undefined : refusalOf[row.refusal];
  const entry = {
    sequence: row.sequence,
    workflowId: row.workflow ?? "",
    taskExecutionId: row.task ?? "",
    observation: row.observation === undefined ? undefined : { observationId: row.observation },
  };
  const rejection = why && toFinalRejection(why, entry);
  return rejection === undefined ? [] : [rejection];
}

function toNotices(
  group: AppendGroup,
  answer: AppendAnswer,
  appended: ReadonlyMap<string, readonly StoredRun[] | undefined>,
): Notice[] {
  const notices: Notice[] = [];
  for (const [i, streamId] of group.streams.entries()) {
    const from = answer.firstOffsets[i] ?? 1;
    const to = answer.lastOffsets[i] ?? 0;
    if (to < from) continue;
    const runs = appended.get(streamId);
    let entries: StoredEvent[] | undefined;
    notices.push({
      streamId,
      from,
      to,
      /** Made when somebody asks: most streams have no reader here. */
      get entries() {
        if (entries === undefined && runs !== undefined) entries = toEntries(runs, answer.recordedMs);
        return entries;
      },
    });
  }
  return notices;
}

/** What was stored of a command, with offsets one after the other. */
interface StoredRun {
  readonly events: readonly NewEvent[];
  readonly first: number;
}

function toEntries(runs: readonly StoredRun[], recordedMs: number): StoredEvent[] {
  const entries: StoredEvent[] = [];
  for (const { events, first } of runs) {
    let offset = first;
    for (const event of events) entries.push(toStored(event, offset++, recordedMs));
  }
  return entries;
}

/** By name, since to spread an event takes three times as long. */
function toStored(event: NewEvent, offset: number, recordedMs: number): StoredEvent {
  const stored = {
    workflowId: event.workflowId,
    taskExecutionId: event.taskExecutionId,
    producerId: event.producerId,
    sequence: event.sequence,
    type: event.type,
    payload: event.payload,
    timestampMs: event.timestampMs,
    traceparent: event.traceparent,
    offset,
    recordedMs,
  };
  return event.observation === undefined ? stored : { ...stored, observation: event.observation };
}
