/** Reads one scope over gRPC, or several as labels of one StreamMany. */
import type { Event, StreamMessage } from "../../../gen/tributary/v1/event_pb.ts";
import { StreamScope } from "../../../gen/tributary/v1/event_stream_service_pb.ts";
import type { Cluster } from "./cluster.ts";
import { heartbeatIntervalMs, isExcusableLabel, type Subscribe } from "./reader.ts";
import type { ReaderLog, Told, ToldEvent } from "./reader-log.ts";
import type { Witness } from "./witness.ts";

/** `purpose`: those with the same share a connection. */
export const subscribeConnect = (cluster: Cluster, purpose: string): Subscribe =>
  async function* (instance, [log], signal) {
    if (log === undefined) return;
    const { scope } = log.reading;
    const { streams } = cluster.clients(instance, scope.branch.tenant, purpose);
    const workflowId = scope.branch.id;
    const options = optionsOf(log);
    const answers =
      scope.kind === "subtree"
        ? streams.streamWorkflowConsolidated({ workflowId, options }, { signal })
        : scope.kind === "workflow"
          ? streams.streamWorkflow({ workflowId, options }, { signal })
          : streams.streamTask({ workflowId, taskExecutionId: scope.task, options }, { signal });
    for await (const { message } of answers) {
      const told = message && toTold(message.message);
      if (told !== undefined) yield { log, told };
    }
  };

const scopes = {
  subtree: StreamScope.CONSOLIDATED,
  workflow: StreamScope.WORKFLOW,
  task: StreamScope.TASK,
} as const;

export const subscribeMany = (cluster: Cluster, witness: Witness): Subscribe =>
  async function* (instance, logs, signal) {
    const tenant = logs[0]?.reading.scope.branch.tenant ?? "";
    const targets = logs.map((log, i) => {
      const { scope } = log.reading;
      return {
        label: `${i}`,
        scope: scopes[scope.kind],
        workflowId: scope.branch.id,
        taskExecutionId: scope.kind === "task" ? scope.task : "",
        options: optionsOf(log),
      };
    });
    const { streams } = cluster.clients(instance, tenant, "many");
    for await (const { label, result } of streams.streamMany({ targets }, { signal })) {
      const log = logs[Number(label)];
      if (log === undefined) {
        witness.blame("StreamMany", `an unknown label ${label}`);
      } else if (result.case === "error") {
        const { code, message } = result.value;
        if (!isExcusableLabel(code)) witness.blame(log.name, `${code}: ${message}`);
      } else if (result.case === "message") {
        const told = toTold(result.value.message);
        if (told !== undefined) yield { log, told };
      }
    }
  };

function optionsOf({ reading, position }: ReaderLog) {
  const isLatest = position === undefined && reading.start === "latest";
  return {
    start: isLatest
      ? ({ case: "latest", value: true } as const)
      : ({ case: "afterOffset", value: BigInt(position ?? 0) } as const),
    types: [...reading.types],
    taskExecutionIds: [...reading.tasks],
    heartbeatIntervalMs,
  };
}

export function toTold(message: StreamMessage["message"]): Told | undefined {
  switch (message.case) {
    case "opened":
      return {
        kind: "opened",
        startOffset: Number(message.value.startOffset),
        epoch: Number(message.value.epoch),
      };
    case "events":
      return { kind: "events", events: message.value.events.map(toToldEvent) };
    case "heartbeat":
      return { kind: "heartbeat", offset: Number(message.value.offset) };
    case "gap":
      return { kind: "gap", from: Number(message.value.fromOffset), to: Number(message.value.toOffset) };
    case "closing":
      return { kind: "closing", reconnectAfterMs: message.value.reconnectAfterMs };
    case "ended":
      return { kind: "ended", finalOffset: Number(message.value.finalOffset) };
    default:
      return undefined;
  }
}

const toToldEvent = (event: Event): ToldEvent => ({
  offset: Number(event.offset),
  workflowId: event.workflowId,
  task: event.taskExecutionId,
  type: event.type,
  sequence: Number(event.sequence),
  text: String(event.payload.value ?? ""),
});
