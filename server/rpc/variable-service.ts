/** VariableService: decode, call core, encode. */
import { create, toBinary } from "@bufbuild/protobuf";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import {
  type DeleteVariableRequest,
  type GetVariableRequest,
  type ListVariablesRequest,
  type SetVariableRequest,
  type SetVariablesRequest,
  SetVariablesRequestSchema,
  type VariableAssignment,
  VariableSchema,
  VariableService,
} from "../../gen/tributary/v1/variable_service_pb.ts";
import { DomainError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { Variables } from "../core/variables/variables.ts";
import { accessOf } from "./context.ts";
import { fromPageToken, namePosition, pageSizeOf, toPageToken } from "./page-token.ts";
import { toAssignment, toExpected, toStoredMessage, toVariableMessage } from "./variable-messages.ts";
import { type VariableWatchDeps, watch } from "./variable-watch.ts";

export interface VariableServiceDeps extends VariableWatchDeps {
  readonly variables: Variables;
}

export function variableService(router: ConnectRouter, deps: VariableServiceDeps): void {
  router.service(VariableService, {
    setVariable: (request, context) => setVariable(deps, request, context),
    setVariables: (request, context) => setVariables(deps, request, context),
    getVariable: (request, context) => getVariable(deps, request, context),
    listVariables: (request, context) => listVariables(deps, request, context),
    deleteVariable: (request, context) => deleteVariable(deps, request, context),
    watchVariables: (request, context) => watch(deps, request, context),
  });
}

async function setVariable(
  { variables }: VariableServiceDeps,
  request: SetVariableRequest,
  context: HandlerContext,
) {
  const given = request.assignment as VariableAssignment; // the rule says that it is there
  const assignment = toAssignment(given, "assignment");
  const [stored] = await variables.set(
    accessOf(context),
    request.workflowId,
    request.source,
    [assignment],
    true,
  );
  return stored === undefined ? {} : { variable: toStoredMessage(stored, given, request.source, true) };
}

async function setVariables(
  { variables }: VariableServiceDeps,
  request: SetVariablesRequest,
  context: HandlerContext,
) {
  const { assignments } = request;
  const given = assignments.map((assignment, i) => toAssignment(assignment, `assignments[${i}]`));
  assertAnswerable(
    request,
    given.reduce((sum, { value }) => sum + value.text.length, 0),
  );
  const stored = await variables.set(accessOf(context), request.workflowId, request.source, given, false);
  return {
    variables: stored.map((one, i) =>
      toStoredMessage(one, assignments[i] as VariableAssignment, request.source, false),
    ),
  };
}

/** A number takes up to 5.5 times its JSON in protobuf: smaller values cannot make an answer too large. */
const harmlessBytes = 512 * 1024;

/** The answer repeats the values: it must not be larger than a message may be. */
function assertAnswerable(request: SetVariablesRequest, jsonBytes: number): void {
  if (jsonBytes <= harmlessBytes) return;
  const size = toBinary(SetVariablesRequestSchema, request).byteLength;
  if (size <= limits.publishMessageBytes) return;
  throw new DomainError(
    "invalid_argument",
    `assignments: must not exceed ${limits.publishMessageBytes} bytes in protobuf, found ${size}; set them in several calls`,
  );
}

async function getVariable(
  { variables }: VariableServiceDeps,
  request: GetVariableRequest,
  context: HandlerContext,
) {
  const found = await variables.get(accessOf(context), request.workflowId, request.name);
  return { variable: toVariableMessage(found) };
}

async function listVariables(
  { variables }: VariableServiceDeps,
  request: ListVariablesRequest,
  context: HandlerContext,
) {
  const after = fromPageToken(request.pageToken, namePosition)?.name ?? "";
  const size = pageSizeOf(request.pageSize);
  const found = await variables.list(accessOf(context), request.workflowId, size, after);
  const messages = found.variables.map((variable) => create(VariableSchema, toVariableMessage(variable)));
  let bytes = 0;
  const end = messages.findIndex((message, i) => {
    bytes += toBinary(VariableSchema, message).byteLength;
    return i > 0 && bytes > limits.batchBytes;
  });
  const page = end === -1 ? messages : messages.slice(0, end);
  const more = found.more || page.length < messages.length;
  const last = page.at(-1);
  return {
    variables: page,
    nextPageToken: toPageToken(more && last !== undefined ? { name: last.name } : undefined),
  };
}

async function deleteVariable(
  { variables }: VariableServiceDeps,
  request: DeleteVariableRequest,
  context: HandlerContext,
) {
  const offset = await variables.delete(
    accessOf(context),
    request.workflowId,
    request.name,
    request.source,
    toExpected(request.expectedVersion),
  );
  return { offset: BigInt(offset) };
}
