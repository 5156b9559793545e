/** Watches all variables of a workflow to its end, from instance to instance. Its log is a reader's of VARIABLE_SET and _DELETED. */

import { EventType } from "../../../gen/tributary/v1/event_pb.ts";
import { type VariableUpdate, VariableUpdateType } from "../../../gen/tributary/v1/variable_service_pb.ts";
import { plain } from "../../support/variable-call.ts";
import type { Cluster } from "./cluster.ts";
import { heartbeatIntervalMs, type Subscribe } from "./reader.ts";
import type { ToldEvent } from "./reader-log.ts";
import { toTold } from "./subscribe-connect.ts";

/** The values of one snapshot, and its offset. */
export interface Snapshot {
  readonly workflowId: string;
  offset: number;
  readonly values: Map<string, { readonly version: number; readonly value: unknown }>;
}

export const watchVariables = (cluster: Cluster, snapshots: Snapshot[]): Subscribe =>
  async function* (instance, [log], signal) {
    if (log === undefined) return;
    const { branch } = log.reading.scope;
    const { variables } = cluster.clients(instance, branch.tenant, "watchers");
    const { position } = log;
    const answers = variables.watchVariables(
      {
        workflowId: branch.id,
        allowMissing: true,
        includeInitialValues: true,
        options: {
          start:
            position === undefined
              ? { case: "latest", value: true }
              : { case: "afterOffset", value: BigInt(position) },
          heartbeatIntervalMs,
        },
      },
      { signal },
    );
    let snapshot: Snapshot = { workflowId: branch.id, offset: 0, values: new Map() };
    for await (const { message } of answers) {
      if (message.case === "updates") {
        const changes: ToldEvent[] = [];
        for (const update of message.value.updates) {
          if (update.updateType === VariableUpdateType.INITIAL_VALUE) {
            const { name = "", version = 0n, value } = update.variable ?? {};
            snapshot.values.set(name, { version: Number(version), value: plain(value) });
          } else changes.push(toEvent(update));
        }
        if (changes.length > 0) yield { log, told: { kind: "events", events: changes } };
      } else if (message.case === "snapshotComplete") {
        snapshot.offset = Number(message.value.offset);
        snapshots.push(snapshot);
        snapshot = { workflowId: branch.id, offset: 0, values: new Map() };
        yield { log, told: { kind: "snapshot", offset: Number(message.value.offset) } };
      } else {
        const told = toTold(message);
        if (told !== undefined) yield { log, told };
      }
    }
  };

/** What can be compared with the entry: name, version, value, and who. */
export const sayingOfVariable = (name: string, version: number, value: unknown, source: string): string =>
  JSON.stringify([name, version, value, source]);

function toEvent({ updateType, variable, source, offset }: VariableUpdate): ToldEvent {
  const isDeletion = updateType === VariableUpdateType.DELETED;
  return {
    offset: Number(offset),
    workflowId: variable?.workflowId ?? "",
    task: "",
    type: isDeletion ? EventType.VARIABLE_DELETED : EventType.VARIABLE_SET,
    sequence: 0,
    text: sayingOfVariable(
      variable?.name ?? "",
      Number(variable?.version),
      plain(variable?.value) ?? null,
      source,
    ),
  };
}
