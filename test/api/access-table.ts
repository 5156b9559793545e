/**
 * Who may call what, and what is said of ids that are another tenant's or nobody's: as the contract and the comments in proto
 * say it, and not as server/auth/access-rules.ts does. test/api/access-matrix.test.ts compares the server with it, and
 * docs/operations/access.md shows it.
 */
import type { DescMethod } from "@bufbuild/protobuf";
import { requestFor } from "./every-rpc.ts";

export type RoleName = "READ" | "PUBLISH" | "MANAGE";

export interface Access {
  /** The one that a tenant's key needs. */
  readonly role?: RoleName;
  /** A stream token may, for its subtrees. */
  readonly token?: true;
  /** The admin key may. */
  readonly admin?: true;
}

const read: Access = { role: "READ" };
const readOrToken: Access = { role: "READ", token: true };
const publish: Access = { role: "PUBLISH" };
const manage: Access = { role: "MANAGE" };
const manageOrAdmin: Access = { role: "MANAGE", admin: true };
const admin: Access = { admin: true };

export const accessTable: Readonly<Record<string, Access>> = {
  "AdminService.CreateTenant": admin,
  "AdminService.UpdateTenant": admin,
  "AdminService.ListTenants": admin,
  "AdminService.CreateApiKey": manageOrAdmin,
  "AdminService.ListApiKeys": manageOrAdmin,
  "AdminService.RevokeApiKey": manageOrAdmin,
  "AdminService.RotateSigningKey": admin,
  "AdminService.ListSessions": manageOrAdmin,
  "AdminService.CloseSession": manageOrAdmin,
  "AdminService.GetStats": manageOrAdmin,
  "AdminService.StreamSystemEvents": manageOrAdmin,
  "EventStreamService.StreamWorkflow": readOrToken,
  "EventStreamService.StreamWorkflowConsolidated": readOrToken,
  "EventStreamService.StreamTask": readOrToken,
  "EventStreamService.StreamMany": readOrToken,
  "EventStreamService.Multiplex": readOrToken,
  "EventStreamService.ReadEvents": readOrToken,
  "MemoryService.ObserveStream": publish,
  "MemoryService.RecallStream": read,
  "MemoryService.MemoryFlow": publish,
  "MemoryService.CreateMemorySpace": publish,
  "MemoryService.UpdateMemorySpace": publish,
  "MemoryService.ListMemorySpaces": read,
  "MemoryService.GetObservation": read,
  "TaskStreamService.StreamTaskData": publish,
  "TaskStreamService.PublishTaskEvents": publish,
  "TaskStreamService.PublishTaskStream": publish,
  "TokenService.CreateStreamToken": read,
  "VariableService.SetVariable": publish,
  "VariableService.SetVariables": publish,
  "VariableService.GetVariable": readOrToken,
  "VariableService.ListVariables": readOrToken,
  "VariableService.DeleteVariable": publish,
  "VariableService.WatchVariables": readOrToken,
  "WorkflowService.CreateWorkflow": publish,
  "WorkflowService.GetWorkflow": readOrToken,
  "WorkflowService.ListWorkflows": read,
  "WorkflowService.GetWorkflowTree": readOrToken,
  "WorkflowService.CloseWorkflow": publish,
  "WorkflowService.RequestCancel": publish,
  "WorkflowService.DeleteWorkflowTree": manage,
  "WorkflowService.WatchWorkflows": read,
};

/** The routes of Server-Sent Events, after /api/tenants/<slug>/stream/workflows/<id>. */
export const routeTable: Readonly<Record<string, Access>> = {
  "": readOrToken,
  "/consolidated": readOrToken,
  "/tasks/t": readOrToken,
};

/** What the request names that belongs to somebody. */
export type Named = "workflow" | "tenant" | "key" | "session" | "nothing";

export function namedBy(method: DescMethod): Named {
  const request = JSON.stringify(
    requestFor(method, { workflowId: "W", tenantSlug: "T", apiKeyId: "K", sessionId: "S" }),
  );
  for (const [value, named] of [
    ["W", "workflow"],
    ["K", "key"],
    ["S", "session"],
    ["T", "tenant"],
  ] as const) {
    if (request.includes(`"${value}"`)) return named;
  }
  return "nothing";
}

/** What it names that belongs to nobody, as the admin key and as a tenant's key are told. */
export const unknownOutcome: Readonly<Record<Named, { readonly admin: string; readonly tenant: string }>> = {
  workflow: { admin: "", tenant: "NotFound" },
  key: { admin: "NotFound", tenant: "NotFound" },
  session: { admin: "NotFound", tenant: "NotFound" },
  // A tenant's key learns nothing of which others there are.
  tenant: { admin: "NotFound", tenant: "PermissionDenied" },
  nothing: { admin: "OK", tenant: "OK" },
};

/** To the admin key they list what an unknown tenant has: nothing. */
export const listsNothing: readonly string[] = ["AdminService.ListApiKeys", "AdminService.ListSessions"];
