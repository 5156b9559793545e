/**
 * Turns a group of commands into the arrays of `append`, and its answer back into one result a command and one notice
 * a stream. Pure, so that it can be tested without a database.
 *
 * A notice carries its entries when the group only added events to the stream; after a lifecycle change, which is rare,
 * the hub reads them from the store instead of having them composed twice.
 */
import type { AppendAnswer, AppendGroup, Decision } from "../../db/statements/append.ts";
import type { Command, CommandResult, EntriesResult, LifecycleResult, Refusal } from "../core/command.ts";
import { payloadSize, type StoredEvent } from "../core/event.ts";
import type { GroupResult, Notice } from "../core/ports.ts";

const refusals: Partial<Record<Decision, Refusal>> = {
  3: "workflow_closed",
  4: "task_closed",
  5: "workflow_unknown",
  6: "skipped",
};

export function toAppendGroup(commands: readonly Command[]): AppendGroup {
  const streams: string[] = [];
  const streamNo = new Map<string, number>();
  const keyNo = new Map<string, number>();
  const chainNo = new Map<object, number>();
  const keyStream: number[] = [];
  const keyWorkflow: string[] = [];
  const keyTask: string[] = [];
  const keyProducer: string[] = [];
  const entryKey: number[] = [];
  const entrySequence: number[] = [];
  const entryType: number[] = [];
  const entryTimestamp: number[] = [];
  const entryStart: number[] = [];
  const entrySize: number[] = [];
  const entryIsText: boolean[] = [];
  const entryChain: number[] = [];
  const ops: object[] = [];
  const slices: Uint8Array[] = [];
  let end = 0;

  const addSlice = (payload: string | Uint8Array) => {
    const bytes = typeof payload === "string" ? Buffer.from(payload) : payload;
    const start = end + 1;
    end += bytes.byteLength;
    slices.push(bytes);
    return { start, size: bytes.byteLength };
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
    const isRoot = command.kind === "create" && command.parentWorkflowId === undefined;
    const stream = isRoot
      ? 0
      : noOf(streamNo, command.streamId, () => {
          streams.push(command.streamId);
        });
    if (command.kind !== "entries") {
      ops.push(toOp(command, addSlice));
      continue;
    }
    const chain = noOf(chainNo, command.chain, () => {});
    for (const event of command.events) {
      const key = noOf(
        keyNo,
        `${event.workflowId}\n${event.taskExecutionId}\n${event.producerId}\n${stream}`,
        () => {
          keyStream.push(stream);
          keyWorkflow.push(event.workflowId);
          keyTask.push(event.taskExecutionId);
          keyProducer.push(event.producerId);
        },
      );
      const slice = event.payload === undefined ? { start: 1, size: -1 } : addSlice(event.payload);
      entryKey.push(key);
      entrySequence.push(event.sequence);
      entryType.push(event.type);
      entryTimestamp.push(event.timestampMs);
      entryStart.push(slice.start);
      entrySize.push(slice.size);
      entryIsText.push(typeof event.payload === "string");
      entryChain.push(chain);
    }
  }
  return {
    streams,
    keyStream,
    keyWorkflow,
    keyTask,
    keyProducer,
    entryKey,
    entrySequence,
    entryType,
    entryTimestamp,
    entryStart,
    entrySize,
    entryIsText,
    entryChain,
    ops,
    payload: Buffer.concat(slices, end),
  };
}

function toOp(
  command: Exclude<Command, { kind: "entries" }>,
  addSlice: (payload: string) => { start: number; size: number },
): object {
  const common = {
    op: command.kind,
    stream: command.streamId,
    workflow: command.workflowId,
    ...(payloadSize(command.payload) === 0 ? { start: 1, size: -1 } : addSlice(command.payload)),
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
  const appended = new Map<string, StoredEvent[] | undefined>();
  const results: CommandResult[] = [];
  let entryNo = 0;
  let opNo = 0;
  for (const command of commands) {
    if (command.kind !== "entries") {
      const op = answer.opResults[opNo++];
      appended.set(command.streamId, undefined);
      results.push({
        kind: "lifecycle",
        result: (op?.result ?? "unknown") as LifecycleResult["result"],
        offset: op?.offset ?? 0,
        status: op?.status ?? 0,
      });
      continue;
    }
    const entries = appended.get(command.streamId) ?? [];
    appended.set(command.streamId, entries);
    let offset = next.get(command.streamId) ?? 1;
    let stored = 0;
    let duplicates = 0;
    let refused: EntriesResult["refused"];
    for (const [index, event] of command.events.entries()) {
      const decision = answer.decisions?.[entryNo++] ?? 1;
      if (decision === 1) {
        entries.push({ ...event, offset: offset++, recordedMs: answer.recordedMs });
        stored++;
      } else if (decision === 2) duplicates++;
      else refused ??= { index, why: refusals[decision] ?? "skipped" };
    }
    next.set(command.streamId, offset);
    results.push({ kind: "entries", stored, duplicates, lastOffset: stored > 0 ? offset - 1 : 0, refused });
  }
  return { results, notices: toNotices(group, answer, appended) };
}

function toNotices(
  group: AppendGroup,
  answer: AppendAnswer,
  appended: ReadonlyMap<string, StoredEvent[] | undefined>,
): Notice[] {
  const notices: Notice[] = [];
  for (const [i, streamId] of group.streams.entries()) {
    const from = answer.firstOffsets[i] ?? 1;
    const to = answer.lastOffsets[i] ?? 0;
    if (to >= from) notices.push({ streamId, from, to, entries: appended.get(streamId) });
  }
  return notices;
}
