/** Every RPC of the contract, from the descriptors in gen/, with a request that is well-formed for a given workflow. */
import { readdir } from "node:fs/promises";
import type {
  DescField,
  DescMessage,
  DescMethod,
  DescMethodStreaming,
  DescMethodUnary,
  DescService,
} from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";

export interface Rpc {
  /** As "WorkflowService.GetWorkflow". */
  readonly name: string;
  readonly method: DescMethod;
}

const folder = new URL("../../gen/tributary/v1/", import.meta.url);

/** In the order of the files. */
export async function everyRpc(): Promise<Rpc[]> {
  const rpcs: Rpc[] = [];
  for (const file of (await readdir(folder)).filter((name) => name.endsWith("_service_pb.ts")).sort()) {
    const module = (await import(new URL(file, folder).href)) as Record<string, unknown>;
    for (const service of Object.values(module).filter(isService)) {
      for (const method of service.methods) rpcs.push({ name: `${service.name}.${method.name}`, method });
    }
  }
  return rpcs;
}

function isService(value: unknown): value is DescService {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "service";
}

export interface Subjects {
  readonly workflowId: string;
  readonly tenantSlug: string;
  readonly apiKeyId: string;
  readonly sessionId?: string;
}

type Init = Record<string, unknown>;

/** Fields that a request needs to be well-formed, by their names. */
export function requestFor({ input }: DescMethod, subjects: Subjects): Init {
  return fill(input, subjects);
}

function fill(message: DescMessage, subjects: Subjects): Init {
  const init: Init = {};
  for (const field of message.fields) {
    const value = contentOf(field, message, subjects);
    if (value === undefined) continue;
    if (field.oneof === undefined) init[field.localName] = value;
    else init[field.oneof.localName] ??= { case: field.localName, value };
  }
  return init;
}

function contentOf(field: DescField, parent: DescMessage, subjects: Subjects): unknown {
  const { workflowId, tenantSlug, apiKeyId } = subjects;
  switch (field.name) {
    case "workflow_id":
      // A new one is made by the server.
      return parent.name === "CreateWorkflowRequest" ? undefined : workflowId;
    case "workflow_execution_id":
    case "parent_workflow_id":
      return workflowId;
    case "session_id":
      return parent.name === "CloseSessionRequest"
        ? (subjects.sessionId ?? "4d6f1ea4-41b5-4a63-9e1a-6e5b5ab1a3c5")
        : undefined;
    case "workflow_ids":
      return [workflowId];
    case "tenant_slug":
      return tenantSlug;
    case "slug":
      return parent.name === "CreateTenantRequest" ? undefined : tenantSlug;
    case "api_key_id":
      return apiKeyId;
    case "task_execution_id":
      return "t";
    case "label":
    case "name":
      return "a";
    case "observation_id":
      return "o";
    case "space":
      // `default` exists already.
      return parent.name === "CreateMemorySpaceRequest" ? "scratch" : "default";
    case "content":
      return "c";
    case "status":
      return parent.name === "CloseWorkflowRequest" ? 2 : undefined;
    case "type":
      return field.message === undefined && parent.name !== "VariableAssignment" ? 1 : undefined;
    case "events":
    case "targets":
    case "assignments":
      return field.message === undefined ? undefined : [fill(field.message, subjects)];
    case "cue":
    case "session":
    case "init":
    case "subscribe":
    case "assignment":
      return field.message === undefined ? undefined : fill(field.message, subjects);
    case "text":
      return "x";
    case "value":
      return { kind: { case: "numberValue", value: 1 } };
    default:
      return undefined;
  }
}

/**
 * Calls it with one message and says how it ended, or "OK" after its first answer; what calls with labels answer for the one
 * label counts as the answer.
 */
export async function call(transport: Transport, { method }: Rpc, request: Init): Promise<string> {
  const abort = new AbortController();
  try {
    if (method.methodKind === "unary") {
      await transport.unary(method as DescMethodUnary, abort.signal, 10_000, undefined, request);
      return "OK";
    }
    const { message } = await transport.stream(
      method as DescMethodStreaming,
      abort.signal,
      10_000,
      undefined,
      once(request),
    );
    for await (const answer of message) return refusalIn(answer) ?? "OK";
    return "OK";
  } catch (error) {
    return Code[ConnectError.from(error).code] ?? "?";
  } finally {
    abort.abort();
  }
}

/** The code of the StreamError somewhere in a message, as "PermissionDenied". */
function refusalIn(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  if ("$typeName" in value && value.$typeName === "tributary.v1.StreamError" && "code" in value) {
    return String(value.code).replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
  }
  for (const part of Object.values(value)) {
    const found = refusalIn(part);
    if (found !== undefined) return found;
  }
  return undefined;
}

async function* once(request: Init): AsyncIterable<Init> {
  yield request;
}
