/**
 * Variables with connect-node as it comes: kept in memory, and each change given to the watchers of its workflow through
 * queues, all that waits in one message. No rules, no snapshot, no storage.
 */
import { create } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import {
  type Variable,
  type VariableAssignment,
  VariableSchema,
  VariableService,
  type VariableUpdate,
  VariableUpdateSchema,
  VariableUpdateType,
} from "../../gen/tributary/v1/variable_service_pb.ts";
import { Queue } from "./queue.ts";

interface Workflow {
  readonly variables: Map<string, Variable>;
  readonly watchers: Set<Queue<VariableUpdate>>;
  tail: number;
}

export function stockVariables(router: ConnectRouter): void {
  const workflows = new Map<string, Workflow>();
  const workflowOf = (id: string): Workflow => {
    const found = workflows.get(id) ?? { variables: new Map(), watchers: new Set(), tail: 0 };
    workflows.set(id, found);
    return found;
  };

  function set(workflowId: string, assignments: readonly VariableAssignment[]): Variable[] {
    const workflow = workflowOf(workflowId);
    const updates = assignments.map(({ name, type, value }) => {
      const before = workflow.variables.get(name);
      const now = BigInt(Date.now());
      workflow.tail += 1;
      const variable = create(VariableSchema, {
        workflowId,
        name,
        type,
        ...(value && { value }),
        version: (before?.version ?? 0n) + 1n,
        offset: BigInt(workflow.tail),
        createdMs: before?.createdMs ?? now,
        updatedMs: now,
      });
      workflow.variables.set(name, variable);
      return create(VariableUpdateSchema, {
        updateType: VariableUpdateType.VALUE_CHANGE,
        variable,
        ...(before?.value && { oldValue: before.value }),
        offset: variable.offset,
        timestampMs: now,
      });
    });
    for (const queue of workflow.watchers) queue.push(updates);
    return updates.flatMap(({ variable }) => variable ?? []);
  }

  router.service(VariableService, {
    setVariable({ workflowId, assignment }) {
      const [variable] = set(workflowId, assignment === undefined ? [] : [assignment]);
      return variable === undefined ? {} : { variable };
    },
    setVariables: ({ workflowId, assignments }) => ({ variables: set(workflowId, assignments) }),
    async *watchVariables({ workflowId }, { signal }) {
      const { watchers } = workflowOf(workflowId);
      const queue = new Queue<VariableUpdate>(signal);
      watchers.add(queue);
      try {
        yield { message: { case: "opened", value: { streamId: workflowId, epoch: 1n } } };
        while (!signal.aborted) {
          const updates = await queue.take();
          if (updates.length > 0) yield { message: { case: "updates", value: { updates } } };
        }
      } finally {
        watchers.delete(queue);
      }
    },
  });
}
