/** Asks with each tenant's key for what is the other's: it must get nothing, whatever state the instances are in. */

import { Code } from "@connectrpc/connect";
import { EventType } from "../../../gen/tributary/v1/event_pb.ts";
import type { Clients } from "../../support/server.ts";
import type { Forest } from "./forest.ts";
import { nap, type Stage } from "./stage.ts";

const attempts: readonly ((clients: Clients, workflowId: string, signal: AbortSignal) => Promise<unknown>)[] =
  [
    ({ workflows }, workflowId, signal) => workflows.getWorkflow({ workflowId }, { signal }),
    ({ streams }, workflowId, signal) => streams.readEvents({ workflowId }, { signal }),
    ({ variables }, workflowId, signal) => variables.listVariables({ workflowId }, { signal }),
    ({ workflows }, workflowId, signal) => workflows.requestCancel({ workflowId }, { signal }),
    ({ tasks }, workflowExecutionId, signal) =>
      tasks.streamTaskData(
        { workflowExecutionId, taskExecutionId: "trespasser", type: EventType.TOKEN, payload: "mine" },
        { signal },
      ),
    async ({ streams }, workflowId, signal) => {
      for await (const _ of streams.streamWorkflowConsolidated({ workflowId }, { signal })) return;
      throw new Error("ended without a word");
    },
  ];

export async function trespass(stage: Stage, forest: Forest): Promise<void> {
  const { random, witness, cluster } = stage;
  while (!stage.over) {
    const branch = random.pick([...forest.branches.values()]);
    const other = cluster.tenants.find((tenant) => tenant !== branch.tenant) ?? "";
    try {
      await random.pick(attempts)(stage.anyClients(other), branch.id, AbortSignal.timeout(3000));
      witness.blame("trespasser", `${other} was let in to ${branch.id} of ${branch.tenant}`);
    } catch (error) {
      witness.excuses("trespasser", error, [Code.PermissionDenied]);
    }
    await nap(random.below(400));
  }
}
