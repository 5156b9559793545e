/** A subscription as callers ask for it, on whatever protocol: checks who and what, then follows. */
import type { Access, WorkflowIdentity } from "./access.ts";
import { DomainError } from "./errors.ts";
import { EventType } from "./event.ts";
import { type FollowDeps, type FollowMessage, type FollowRequest, follow } from "./follow.ts";
import { limits } from "./limits.ts";
import { type MultiplexInput, type MultiplexOutput, multiplex, type Start } from "./multiplex.ts";
import type { CallOwner, OpenCall, OpenCalls } from "./open-call.ts";
import type { EventFilter, ScopeKey } from "./ports.ts";
import type { Registry } from "./registry.ts";
import type { Sink } from "./sink.ts";

export interface SubscribeDeps extends FollowDeps {
  readonly registry: Registry;
  readonly calls: OpenCalls;
}

export type Target =
  | { readonly kind: "workflow" | "consolidated"; readonly workflowId: string }
  | { readonly kind: "task"; readonly workflowId: string; readonly taskExecutionId: string };

export interface SubscribeOptions {
  readonly start: number | "latest";
  /** Before the names of these fields in what is said of them; absent: "options.". */
  readonly path?: string;
  /** Empty: all. */
  readonly types: readonly number[];
  /** Empty: all. */
  readonly tasks: readonly string[];
  readonly minIntervalMs: number;
  /** Absent: none. */
  readonly conflateTypes?: readonly number[];
  /** 0: the default. */
  readonly heartbeatIntervalMs: number;
  readonly idleTimeoutMs: number;
  readonly expectedEpoch: number;
}

/**
 * The first message is `opened`; what is wrong with the request is thrown before it. With a sink, events may go there instead
 * of being yielded, while the caller waits for the next message and has sent all before it.
 */
export async function* subscribe(
  deps: SubscribeDeps,
  access: Access,
  owner: CallOwner,
  target: Target,
  options: SubscribeOptions,
  signal: AbortSignal,
  sink?: Sink,
): AsyncGenerator<FollowMessage> {
  const { identity } = await deps.registry.require(access, target.workflowId);
  const request = toFollowRequest(access, identity, target, options);
  const call = await deps.calls.openReader(owner);
  try {
    yield* follow(deps, request, call, signal, undefined, sink);
  } catch (error) {
    throw noted(deps, identity, error);
  } finally {
    call.end();
  }
}

/** Several subscriptions of one call: each counts as a reading call of its tenant, the call itself does not. `subscriber` says how one of them begins. */
export async function* subscribeMany(
  deps: SubscribeDeps,
  access: Access,
  owner: CallOwner,
  toInputs: (subscriber: Subscriber) => {
    readonly first: Iterable<MultiplexInput>;
    readonly further: AsyncIterable<MultiplexInput> | undefined;
  },
  signal: AbortSignal,
): AsyncGenerator<MultiplexOutput> {
  const call = deps.calls.open("reader", owner);
  try {
    const { first, further } = toInputs(
      (target, options) => (gate, own) =>
        subscribeLabel(deps, access, owner, call, target, options, gate, own),
    );
    yield* multiplex(call, first, further, signal);
  } finally {
    call.end();
  }
}

export type Subscriber = (target: Target, options: SubscribeOptions) => Start;

async function* subscribeLabel(
  deps: SubscribeDeps,
  access: Access,
  owner: CallOwner,
  call: OpenCall,
  target: Target,
  options: SubscribeOptions,
  ...[gate, signal]: Parameters<Start>
): AsyncGenerator<FollowMessage> {
  const { identity } = await deps.registry.require(access, target.workflowId);
  const request = toFollowRequest(access, identity, target, options);
  const giveBack = await deps.calls.countReader(owner);
  try {
    yield* follow(deps, request, call, signal, gate);
  } catch (error) {
    throw noted(deps, identity, error);
  } finally {
    giveBack();
  }
}

/** A tree that was deleted is looked up again by the next one. */
function noted(deps: SubscribeDeps, { workflowId }: WorkflowIdentity, error: unknown): unknown {
  if (error instanceof DomainError && error.code === "not_found") deps.registry.forget(workflowId);
  return error;
}

/** What following needs, checked. */
export function toFollowRequest(
  access: Access,
  identity: WorkflowIdentity,
  target: Target,
  options: SubscribeOptions,
): FollowRequest {
  const heartbeatIntervalMs = options.heartbeatIntervalMs || limits.heartbeatMs.default;
  const { minIntervalMs, idleTimeoutMs } = options;
  const least = Math.min(heartbeatIntervalMs, idleTimeoutMs || Number.POSITIVE_INFINITY);
  if (minIntervalMs > 0 && minIntervalMs >= least) {
    throw new DomainError(
      "invalid_argument",
      `${options.path ?? "options."}min_interval_ms: ${minIntervalMs} must be below the heartbeat interval (${heartbeatIntervalMs} ms)${idleTimeoutMs > 0 ? ` and the idle timeout (${idleTimeoutMs} ms)` : ""}`,
    );
  }
  return {
    streamId: identity.streamId,
    owner: { tenant: identity.tenant, rootWorkflowId: identity.path[0], space: undefined },
    scope: toScopeKey(identity, target),
    filter: toFilter(access, options.types, options.tasks),
    start: options.start,
    path: options.path ?? "options.",
    heartbeatIntervalMs,
    idleTimeoutMs,
    minIntervalMs,
    conflateTypes: options.conflateTypes ?? [],
    expectedEpoch: options.expectedEpoch,
  };
}

export function toScopeKey({ workflowId, path }: WorkflowIdentity, target: Target): ScopeKey {
  if (target.kind === "task") return { kind: "task", workflowId, taskExecutionId: target.taskExecutionId };
  if (target.kind === "workflow") return { kind: "workflow", workflowId };
  return path.length === 1 ? { kind: "tree", workflowId } : { kind: "subtree", workflowId };
}

const variableTypes: readonly number[] = [EventType.VARIABLE_SET, EventType.VARIABLE_DELETED];
const otherTypes = Object.values(EventType).filter((type) => !variableTypes.includes(type));

/** Each once. A list of names is held, and looked through, for as long as the call is open. */
export function assertFewNames(field: string, names: readonly string[]): readonly string[] {
  const each = [...new Set(names)];
  if (each.length <= limits.filterNames) return each;
  throw new DomainError(
    "invalid_argument",
    `${field}: at most ${limits.filterNames} names, found ${each.length}; leave it empty for all, or use several calls`,
  );
}

/** What the caller asked for, less what the credential may not see. */
export function toFilter(access: Access, types: readonly number[], tasks: readonly string[]): EventFilter {
  const asked = types.length === 0 ? undefined : [...new Set(types)];
  const wanted = assertFewNames("task_execution_ids", tasks);
  return {
    types: access.seesVariables
      ? asked
      : (asked ?? otherTypes).filter((type) => !variableTypes.includes(type)),
    tasks: wanted.length === 0 ? undefined : wanted,
  };
}
