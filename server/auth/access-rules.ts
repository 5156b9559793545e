/**
 * Who may call what: one rule for every RPC and route. `assertComplete` runs at the start, so an RPC without a rule does
 * not start. Whose data a call touches is checked where the data is looked up (core/access.ts).
 */
import type { DescService } from "@bufbuild/protobuf";
import { DomainError } from "../core/errors.ts";
import { type Principal, Role, roleName } from "./principal.ts";

export type Rule =
  /** No credential needed. */
  | "anyone"
  | {
      /** The role a tenant's key needs; undefined: tenant keys may not. */
      readonly role?: Role;
      /** May a stream token? */
      readonly token?: true;
      /** May the admin key? */
      readonly admin?: true;
    };

const read: Rule = { role: Role.READ };
const readWithToken: Rule = { role: Role.READ, token: true };
const publish: Rule = { role: Role.PUBLISH };
const manage: Rule = { role: Role.MANAGE };
const manageOrAdmin: Rule = { role: Role.MANAGE, admin: true };
const adminOnly: Rule = { admin: true };

const rules: Readonly<Record<string, Readonly<Record<string, Rule>>>> = {
  "tributary.v1.WorkflowService": {
    CreateWorkflow: publish,
    GetWorkflow: readWithToken,
    ListWorkflows: read,
    GetWorkflowTree: readWithToken,
    CloseWorkflow: publish,
    RequestCancel: publish,
    DeleteWorkflowTree: manage,
    WatchWorkflows: read,
  },
  "tributary.v1.TaskStreamService": {
    StreamTaskData: publish,
    PublishTaskEvents: publish,
    PublishTaskStream: publish,
  },
  "tributary.v1.EventStreamService": {
    StreamWorkflow: readWithToken,
    StreamWorkflowConsolidated: readWithToken,
    StreamTask: readWithToken,
    StreamMany: readWithToken,
    Multiplex: readWithToken,
    ReadEvents: readWithToken,
  },
  "tributary.v1.VariableService": {
    SetVariable: publish,
    SetVariables: publish,
    GetVariable: readWithToken,
    ListVariables: readWithToken,
    DeleteVariable: publish,
    WatchVariables: readWithToken,
  },
  "tributary.v1.MemoryService": {
    ObserveStream: publish,
    RecallStream: read,
    MemoryFlow: publish,
    CreateMemorySpace: publish,
    UpdateMemorySpace: publish,
    ListMemorySpaces: read,
    GetObservation: read,
  },
  "tributary.v1.TokenService": { CreateStreamToken: read },
  "tributary.v1.AdminService": {
    CreateTenant: adminOnly,
    UpdateTenant: adminOnly,
    ListTenants: adminOnly,
    CreateApiKey: manageOrAdmin,
    ListApiKeys: manageOrAdmin,
    RevokeApiKey: manageOrAdmin,
    RotateSigningKey: adminOnly,
    ListSessions: manageOrAdmin,
    CloseSession: manageOrAdmin,
    GetStats: manageOrAdmin,
    StreamSystemEvents: manageOrAdmin,
  },
  "grpc.health.v1.Health": { Check: "anyone", List: "anyone", Watch: "anyone" },
  "grpc.reflection.v1.ServerReflection": { ServerReflectionInfo: "anyone" },
  "grpc.reflection.v1alpha.ServerReflection": { ServerReflectionInfo: "anyone" },
};

/** Routes beside the RPCs. */
export const routeRules = {
  sse: readWithToken,
  health: "anyone",
  /** It tells how busy the instance is, and nothing of any tenant: docs/operations/metrics.md. */
  metrics: "anyone",
  /** The page and its files hold nothing of any tenant. */
  console: "anyone",
  /** Gives the key of development mode to the page of this server alone: server/http/console-session.ts. */
  consoleSession: "anyone",
} as const satisfies Record<string, Rule>;

export function ruleOf(service: string, method: string): Rule | undefined {
  return rules[service]?.[method];
}

/** Throws if a method of these services has no rule, or a rule has no method. */
export function assertComplete(services: readonly DescService[]): void {
  const named = (service: string, method: string) => `${service}/${method}`;
  const known = new Set(
    services.flatMap(({ typeName, methods }) => methods.map(({ name }) => named(typeName, name))),
  );
  const ruled = new Set(
    Object.entries(rules).flatMap(([service, methods]) =>
      Object.keys(methods).map((name) => named(service, name)),
    ),
  );
  const missing = [...known.difference(ruled)].join(", ");
  if (missing !== "")
    throw new Error(`no access rule for ${missing}; add one to server/auth/access-rules.ts`);
  const left = [...ruled.difference(known)].join(", ");
  if (left !== "")
    throw new Error(`an access rule for ${left}: no such RPC; see server/auth/access-rules.ts`);
}

/** Throws permission_denied if the rule does not allow the principal. */
export function assertAllowed(rule: Rule, principal: Principal): void {
  if (rule === "anyone") return;
  if (principal.kind === "admin") {
    if (rule.admin === true) return;
    throw denied("the admin key belongs to no tenant; use an API key of the tenant");
  }
  if (principal.kind === "token") {
    if (rule.token === true) return;
    throw denied("a stream token only reads the workflows it names; use an API key");
  }
  if (rule.role === undefined) throw denied("this call needs the admin key");
  if (!principal.roles.includes(rule.role)) {
    throw denied(`the API key lacks the role ${roleName(rule.role)}; make one that has it`);
  }
}

const denied = (message: string) => new DomainError("permission_denied", message);
