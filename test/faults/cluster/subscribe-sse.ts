/** Reads one scope over Server-Sent Events, as an EventSource does: resumes with the last id. */
import { Code, ConnectError } from "@connectrpc/connect";
import { EventType } from "../../../gen/tributary/v1/event_pb.ts";
import type { Cluster } from "./cluster.ts";
import type { Subscribe } from "./reader.ts";
import type { ReaderLog, Told } from "./reader-log.ts";
import type { Witness } from "./witness.ts";

interface Data {
  readonly type: keyof typeof EventType;
  readonly workflowExecutionId: string;
  readonly taskExecutionId: string;
  readonly sequence: number;
  readonly offset: number;
  readonly payload?: string;
  readonly startOffset: number;
  readonly epoch: number;
  readonly fromOffset: number;
  readonly toOffset: number;
  readonly finalOffset: number;
}

export const subscribeSse = (cluster: Cluster, witness: Witness): Subscribe =>
  async function* (instance, [log], signal) {
    if (log === undefined) return;
    const { tenant } = log.reading.scope.branch;
    const headers: Record<string, string> = { authorization: `Bearer ${cluster.keyOf(tenant)}` };
    if (log.position !== undefined) headers["last-event-id"] = String(log.position);
    const response = await fetch(`${instance.url}${pathOf(log)}`, { headers, signal }).catch(asBroken);
    if (response.status === 204) {
      log.endQuietly();
      return;
    }
    if (response.status !== 200 || response.body === null) {
      await response.body?.cancel();
      if (response.status !== 503) witness.blame(log.name, `status ${response.status}`);
      return;
    }
    let rest = "";
    const decoder = new TextDecoder();
    const chunks = response.body.getReader();
    for (;;) {
      const { done, value } = await chunks.read().catch(asBroken);
      if (done) return;
      const chunk = decoder.decode(value, { stream: true });
      const blocks = (rest + chunk).split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const told = toTold(block);
        if (told !== undefined) yield { log, told };
      }
    }
  };

const nameOf = (type: EventType): string =>
  Object.entries(EventType).find(([, number]) => number === type)?.[0] ?? "";

/** Whatever a connection broke with. */
function asBroken(error: unknown): never {
  throw new ConnectError(String(error), Code.Unavailable);
}

function pathOf({ reading: { scope, types, start }, position }: ReaderLog): string {
  const { tenant, id } = scope.branch;
  const part =
    scope.kind === "subtree"
      ? "/consolidated"
      : scope.kind === "task"
        ? `/tasks/${encodeURIComponent(scope.task)}`
        : "";
  const query = new URLSearchParams();
  if (types.length > 0) query.set("types", types.map(nameOf).join(","));
  if (start === "latest" && position === undefined) query.set("latest", "true");
  return `/api/tenants/${tenant}/stream/workflows/${id}${part}?${query}`;
}

function toTold(block: string): Told | undefined {
  const field = (name: string) => new RegExp(`^${name}: ?(.*)$`, "m").exec(block)?.[1];
  const event = field("event");
  const id = Number(field("id"));
  if (event === undefined) return Number.isNaN(id) ? undefined : { kind: "heartbeat", offset: id };
  const data = JSON.parse(field("data") ?? "{}") as Data;
  switch (event) {
    case "open":
      return { kind: "opened", startOffset: data.startOffset, epoch: data.epoch };
    case "gap":
      return { kind: "gap", from: data.fromOffset, to: data.toOffset };
    case "closing":
      return { kind: "closing", reconnectAfterMs: Number(field("retry") ?? 0) };
    case "end":
      return { kind: "ended", finalOffset: data.finalOffset };
    default: {
      const { workflowExecutionId: workflowId, taskExecutionId: task, sequence, offset, payload = "" } = data;
      return {
        kind: "events",
        events: [{ offset, workflowId, task, type: EventType[data.type], sequence, text: payload }],
      };
    }
  }
}
