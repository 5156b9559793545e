/** WorkflowService: decode, call core, encode. */
import type { ConnectRouter } from "@connectrpc/connect";
import { WorkflowService } from "../../gen/tributary/v1/workflow_service_pb.ts";
import { type Registry, unknownWorkflow } from "../core/registry.ts";
import type { Watches } from "../core/watch/watches.ts";
import {
  closeWorkflow,
  createWorkflow,
  deleteWorkflowTree,
  requestCancel,
  type WorkflowDeps,
} from "../core/workflows.ts";
import { accessOf } from "./context.ts";
import { toWorkflowMessage } from "./conversions.ts";
import { fromPageToken, offsetPosition, pageSizeOf, toPageToken, workflowPosition } from "./page-token.ts";
import { type WatchWorkflowsDeps, watchWorkflows } from "./watch-workflows.ts";

export interface WorkflowServiceDeps extends WorkflowDeps, Omit<WatchWorkflowsDeps, "watches"> {
  readonly registry: Registry;
  readonly watches: Watches;
}

export function workflowService(router: ConnectRouter, deps: WorkflowServiceDeps): void {
  router.service(WorkflowService, {
    async createWorkflow(request, context) {
      const { retention } = request;
      const workflow = await createWorkflow(deps, accessOf(context), {
        workflowId: request.workflowId,
        parentWorkflowId: request.parentWorkflowId,
        name: request.name,
        metadata: request.metadata,
        retentionMaxAgeMs: toOptionalNumber(retention?.maxAgeAfterCloseMs),
        retentionMaxEvents: toOptionalNumber(retention?.maxEvents),
      });
      return { workflow: toWorkflowMessage(workflow) };
    },
    async getWorkflow({ workflowId }, context) {
      return { workflow: toWorkflowMessage(await deps.registry.read(accessOf(context), workflowId)) };
    },
    async listWorkflows(request, context) {
      const access = accessOf(context);
      if (request.parentWorkflowId !== "") await deps.registry.require(access, request.parentWorkflowId);
      const page = await deps.registry.store.list(
        access.tenant,
        {
          status: request.status === 0 ? undefined : request.status,
          parentWorkflowId: request.parentWorkflowId.toLowerCase() || undefined,
          rootsOnly: request.rootsOnly,
          nameContains: request.nameContains,
        },
        pageSizeOf(request.pageSize),
        fromPageToken(request.pageToken, workflowPosition),
      );
      return { workflows: page.workflows.map(toWorkflowMessage), nextPageToken: toPageToken(page.next) };
    },
    async getWorkflowTree(request, context) {
      const { identity } = await deps.registry.require(accessOf(context), request.workflowId);
      const after = fromPageToken(request.pageToken, offsetPosition)?.offset ?? 0;
      const page = await deps.registry.store.listTree(identity, pageSizeOf(request.pageSize), after);
      if (page.workflows.length === 0 && after === 0) {
        deps.registry.forget(identity.workflowId); // deleted by another instance
        throw unknownWorkflow(identity.workflowId);
      }
      return {
        workflows: page.workflows.map(toWorkflowMessage),
        nextPageToken: toPageToken(page.nextOffset === undefined ? undefined : { offset: page.nextOffset }),
      };
    },
    async closeWorkflow({ workflowId, status, payload, closeDescendants }, context) {
      const access = accessOf(context);
      const closed = await closeWorkflow(deps, access, workflowId, status, payload, closeDescendants);
      return { workflow: toWorkflowMessage(closed.workflow), offset: BigInt(closed.offset) };
    },
    async requestCancel({ workflowId, reason }, context) {
      return {
        workflow: toWorkflowMessage(await requestCancel(deps, accessOf(context), workflowId, reason)),
      };
    },
    watchWorkflows: (request, context) => watchWorkflows(deps, request, context),
    async deleteWorkflowTree({ workflowId }, context) {
      return { deletedEvents: BigInt(await deleteWorkflowTree(deps, accessOf(context), workflowId)) };
    },
  });
}

const toOptionalNumber = (value: bigint | undefined) => (value === undefined ? undefined : Number(value));
