/** Setting, reading and deleting variables as their callers see it. Watching is in watch-variables.test.ts. */
import { create, fromJson, type JsonValue, type MessageInitShape, toJson } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import {
  MissingVariablesSchema,
  type Variable,
  type VariableAssignmentSchema,
  VariableConflictSchema,
  VariableType,
} from "../../gen/tributary/v1/variable_service_pb.ts";
import { limits } from "../../server/core/limits.ts";
import { useServer } from "../support/server.ts";
import { newWorkflow } from "./trees.ts";

const server = useServer();

const json = (value: JsonValue): Value => fromJson(ValueSchema, value);
const plain = (value: Value | undefined): JsonValue | undefined => value && toJson(ValueSchema, value);

type Init = Partial<Exclude<MessageInitShape<typeof VariableAssignmentSchema>, { $typeName: string }>>;

const assign = (name: string, value: JsonValue | Value, rest: Init = {}) => ({
  name,
  value: typeof value === "object" && value !== null && "$typeName" in value ? (value as Value) : json(value),
  ...rest,
});

async function set(workflowId: string, name: string, value: JsonValue | Value, rest: Init = {}) {
  const assignment = assign(name, value, rest);
  const { variable } = await server.acme.variables.setVariable({ workflowId, assignment, source: "test" });
  if (variable === undefined) throw new Error("no variable in the answer");
  return variable;
}

async function get(workflowId: string, name: string): Promise<Variable> {
  const { variable } = await server.acme.variables.getVariable({ workflowId, name });
  if (variable === undefined) throw new Error("no variable in the answer");
  return variable;
}

async function failure(call: Promise<unknown>): Promise<ConnectError> {
  return call.then(
    () => {
      throw new Error("it was taken");
    },
    (error) => ConnectError.from(error),
  );
}

/** The payloads of the stream's entries about variables. */
async function entries(workflowId: string): Promise<Record<string, unknown>[]> {
  const { events } = await server.acme.streams.readEvents({ workflowId, limit: 1000, types: [30, 31] });
  return events.map(({ payload }) => JSON.parse(String(payload.value)));
}

describe("setting and getting", () => {
  test("a value comes back as it was set, with what is known of it", async () => {
    const workflowId = await newWorkflow(server.acme);
    const value = { text: "ä\n\"", list: [1, -0.5, null, true], nested: { __proto__: { a: 1e300 } } };
    const variable = await set(workflowId, "state", value, { metadata: { unit: "s" } });
    expect(variable).toMatchObject({
      workflowId,
      name: "state",
      type: VariableType.JSON,
      metadata: { unit: "s" },
      version: 1n,
      source: "test",
      offset: 2n,
    });
    expect(plain(variable.value)).toEqual(value);
    expect(Number(variable.createdMs)).toBeGreaterThan(Date.now() - 60_000);
    expect(variable.updatedMs).toBe(variable.createdMs);
    expect(await get(workflowId, "state")).toEqual(variable);
    const again = await set(workflowId, "state", null);
    expect(again).toMatchObject({ version: 2n, createdMs: variable.createdMs, metadata: { unit: "s" } });
    expect(plain((await get(workflowId, "state")).value)).toBe(null);
  });
});

export { Code, create, limits, WorkflowStatus, MissingVariablesSchema, VariableConflictSchema, failure, entries };
