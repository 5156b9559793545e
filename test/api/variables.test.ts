/** Setting, reading and deleting variables as their callers see it. Watching is in watch-variables.test.ts. */
import { create, type JsonValue } from "@bufbuild/protobuf";
import { ListValueSchema, ValueSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import {
  MissingVariablesSchema,
  VariableConflictSchema,
  VariableType,
} from "../../gen/tributary/v1/variable_service_pb.ts";
import { limits } from "../../server/core/limits.ts";
import { useServer } from "../support/server.ts";
import {
  type AssignmentInit,
  assign,
  failureOf,
  getVariable,
  json,
  plain,
  setVariable,
} from "../support/variable-call.ts";
import { newWorkflow } from "./trees.ts";

const server = useServer();
const absentId = "0198f3a2-6b1c-7d4e-8f90-000000000000";

const set = (workflowId: string, name: string, value: JsonValue, rest?: AssignmentInit) =>
  setVariable(server.acme, workflowId, name, value, rest);
const get = (workflowId: string, name: string) => getVariable(server.acme, workflowId, name);
const newId = () => newWorkflow(server.acme);

async function refused(call: Promise<unknown>): Promise<[code: string, message: string]> {
  const error = await failureOf(call);
  return [Code[error.code], error.rawMessage];
}

/** The payloads of the stream's entries about variables. */
async function entries(workflowId: string): Promise<Record<string, unknown>[]> {
  const types = [EventType.VARIABLE_SET, EventType.VARIABLE_DELETED];
  const { events } = await server.acme.streams.readEvents({ workflowId, limit: 1000, types });
  return events.map(({ payload }) => JSON.parse(String(payload.value)));
}

async function names(workflowId: string): Promise<string[]> {
  const { variables } = await server.acme.variables.listVariables({ workflowId });
  return variables.map(({ name }) => name);
}

describe("a variable that was set", () => {
  test("comes back as it was set, with what is known of it", async () => {
    const workflowId = await newId();
    const value = {
      text: 'ä\n"',
      list: [1, -0.5, null, true],
      nested: { ["__proto__"]: { a: 1e300 }, "": [] },
    };
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

  test("keeps every number exactly, in the table, in lists and in entries", async () => {
    const workflowId = await newId();
    const numbers = [
      0,
      -0,
      0.1 + 0.2,
      5e-324,
      Number.MAX_VALUE,
      2 ** 53 - 1,
      -(2 ** 53 - 1),
      1e21,
      123456.789e-30,
    ];
    await set(workflowId, "numbers", numbers);
    const found = plain((await get(workflowId, "numbers")).value) as number[];
    expect(found.map((number, i) => Object.is(number, numbers[i]))).toEqual(numbers.map(() => true));
    const { variables } = await server.acme.variables.listVariables({ workflowId });
    expect(variables.map(({ value }) => plain(value))).toEqual([numbers]);
    expect((await entries(workflowId))[0]?.["value"]).toEqual(numbers);
  });

  test("is an entry of the tree's stream, with the payload that the contract names", async () => {
    const root = await newId();
    const workflowId = await newWorkflow(server.acme, root);
    const bounds = { min: 0, max: 9 };
    const { createdMs } = await set(workflowId, "n", 1, {
      type: VariableType.INTEGER,
      constraints: bounds,
      metadata: { a: "b" },
    });
    await set(workflowId, "n", 2);
    await server.acme.variables.deleteVariable({ workflowId, name: "n", source: "cleaner" });
    const { events } = await server.acme.streams.readEvents({ workflowId: root, consolidated: true });
    const about = events.filter(({ type }) => type >= 30);
    expect(about.map((event) => [event.type, event.workflowId, event.offset, event.taskExecutionId])).toEqual(
      [
        [EventType.VARIABLE_SET, workflowId, 3n, ""],
        [EventType.VARIABLE_SET, workflowId, 4n, ""],
        [EventType.VARIABLE_DELETED, workflowId, 5n, ""],
      ],
    );
    const common = {
      name: "n",
      type: "INTEGER",
      constraints: bounds,
      metadata: { a: "b" },
      createdMs: Number(createdMs),
    };
    expect(about.map(({ payload }) => JSON.parse(String(payload.value)))).toEqual([
      { ...common, value: 1, version: 1, source: "test" },
      { ...common, value: 2, oldValue: 1, version: 2, source: "test" },
      { ...common, oldValue: 2, version: 2, source: "cleaner" },
    ]);
  });

  test("has any name and text that Postgres and JSON know", async () => {
    const workflowId = await newId();
    const name = '"\\\n\u2028{}😀';
    await set(workflowId, name, name, { metadata: { [name]: name } });
    expect(await get(workflowId, name)).toMatchObject({ name, metadata: { [name]: name } });
    expect(await entries(workflowId)).toMatchObject([{ name, value: name, metadata: { [name]: name } }]);
  });
});

describe("types", () => {
  test("are given with the first set, JSON if none is, and do not change", async () => {
    const workflowId = await newId();
    expect((await set(workflowId, "any", 1)).type).toBe(VariableType.JSON);
    await set(workflowId, "count", 1, { type: VariableType.INTEGER });
    expect((await set(workflowId, "count", 2)).type).toBe(VariableType.INTEGER);
    expect((await set(workflowId, "count", 3, { type: VariableType.INTEGER })).version).toBe(3n);
    const [code, message] = await refused(set(workflowId, "count", "x", { type: VariableType.STRING }));
    expect(code).toBe("FailedPrecondition");
    expect(message).toMatch(/^assignment\.type: variable "count" is of type INTEGER, not STRING; leave/);
    expect(plain((await get(workflowId, "count")).value)).toBe(3);
  });

  test("a value of another type is INVALID_ARGUMENT, also for the type of an earlier set", async () => {
    const workflowId = await newId();
    await set(workflowId, "flag", true, { type: VariableType.BOOLEAN });
    const [code, message] = await refused(set(workflowId, "flag", "yes"));
    expect(code).toBe("InvalidArgument");
    expect(message).toBe(
      'assignment.value: variable "flag" is of type BOOLEAN: must be true or false, found "yes"',
    );
  });

  test("a type that nobody knows is INVALID_ARGUMENT", async () => {
    const [code, message] = await refused(set(await newId(), "a", 1, { type: 7 as VariableType }));
    expect([code, message.slice(0, 15)]).toEqual(["InvalidArgument", "assignment.type"]);
  });
});

describe("constraints", () => {
  test("are kept when absent, replaced when given, and gone when given empty; new ones hold for the new value", async () => {
    const workflowId = await newId();
    const given = { min: 0, max: 10 };
    const made = await set(workflowId, "n", 5, { type: VariableType.FLOAT, constraints: given });
    expect(made.constraints).toMatchObject(given);
    expect((await set(workflowId, "n", 6)).constraints).toMatchObject(given);
    expect((await refused(set(workflowId, "n", 11)))[1]).toBe(
      'assignment.value: variable "n" must be at most 10 (constraints.max), found 11',
    );
    const other = await set(workflowId, "n", 100, { constraints: { min: 100 } });
    expect([other.constraints?.min, other.constraints?.max]).toEqual([100, undefined]);
    expect((await refused(set(workflowId, "n", 99)))[0]).toBe("InvalidArgument");
    expect((await set(workflowId, "n", -1e9, { constraints: {} })).constraints).toBeUndefined();
    expect((await get(workflowId, "n")).constraints).toBeUndefined();
    expect(plain((await get(workflowId, "n")).value)).toBe(-1e9);
  });

  test("of every kind survive, in the answer, in the table and in the entry", async () => {
    const workflowId = await newId();
    const text = { minLength: 0, maxLength: 20, pattern: "[a-z ]*" };
    const choices = { choices: ["red", "", 'ä"'] };
    await set(workflowId, "text", "a b", { type: VariableType.STRING, constraints: text });
    await set(workflowId, "colour", "red", { type: VariableType.CHOICE, constraints: choices });
    expect((await get(workflowId, "text")).constraints).toMatchObject(text);
    expect((await get(workflowId, "colour")).constraints).toMatchObject(choices);
    expect(await entries(workflowId)).toMatchObject([{ constraints: text }, { constraints: choices }]);
  });

  test("that are wrong are refused by their path", async () => {
    const workflowId = await newId();
    const assignments = [
      assign("fine", 1),
      assign("pattern", "x", { type: VariableType.STRING, constraints: { pattern: "(" } }),
    ];
    const [code, message] = await refused(server.acme.variables.setVariables({ workflowId, assignments }));
    expect(code).toBe("InvalidArgument");
    expect(message).toMatch(
      /^assignments\[1\]\.constraints\.pattern: must be an RE2 expression .+ found "\("$/,
    );
    const long = { type: VariableType.STRING, constraints: { pattern: "x".repeat(257) } };
    expect((await refused(set(workflowId, "long", "x", long)))[1]).toMatch(
      /^assignment\.constraints\.pattern must/,
    );
    expect(await names(workflowId)).toEqual([]);
  });

  test("whose pattern would hold the server for long are refused, and it goes on", async () => {
    const workflowId = await newId();
    const costly = { type: VariableType.STRING, constraints: { pattern: "(a|b)*a(a|b){400}" } };
    const text = Array.from({ length: 200_000 }, (_, i) => ((i * i * 7) % 11 < 5 ? "a" : "b")).join("");
    const [code, message] = await refused(set(workflowId, "s", text, costly));
    expect([code, message]).toEqual(["InvalidArgument", expect.stringContaining("4194304 steps")]);
  });
});

describe("metadata", () => {
  test("is kept when empty, merged when given, and emptied first on request", async () => {
    const workflowId = await newId();
    await set(workflowId, "n", 1, { metadata: { a: "1", b: "1" } });
    expect((await set(workflowId, "n", 2)).metadata).toEqual({ a: "1", b: "1" });
    expect((await set(workflowId, "n", 3, { metadata: { b: "2", c: "2" } })).metadata).toEqual({
      a: "1",
      b: "2",
      c: "2",
    });
    const cleared = await set(workflowId, "n", 4, { clearMetadata: true, metadata: { d: "3" } });
    expect(cleared.metadata).toEqual({ d: "3" });
    expect((await set(workflowId, "n", 5, { clearMetadata: true })).metadata).toEqual({});
    expect((await get(workflowId, "n")).metadata).toEqual({});
  });

  test("is bounded by 16 KiB, given and merged", async () => {
    const workflowId = await newId();
    const half = "x".repeat(limits.variableMetadataBytes / 2 - 1);
    await set(workflowId, "n", 1, { metadata: { a: half, b: half } });
    const merged = await refused(set(workflowId, "n", 2, { metadata: { c: "x" } }));
    expect(merged).toEqual([
      "InvalidArgument",
      expect.stringMatching(/^assignment\.metadata: .+16384 bytes/),
    ]);
    const given = await refused(set(workflowId, "m", 2, { metadata: { a: half, b: `${half}x` } }));
    expect(given).toEqual(["InvalidArgument", expect.stringContaining("found 16385")]);
    expect(plain((await get(workflowId, "n")).value)).toBe(1);
  });
});

describe("expected versions", () => {
  test("0 demands that there is none; another one that it is the current one", async () => {
    const workflowId = await newId();
    await set(workflowId, "n", 1, { expectedVersion: 0n });
    await set(workflowId, "n", 2, { expectedVersion: 1n });
    for (const [expectedVersion, name, currentVersion] of [
      [0n, "n", 2n],
      [1n, "n", 2n],
      [3n, "n", 2n],
      [2n ** 64n - 1n, "n", 2n],
      [1n, "none", 0n],
    ] as const) {
      const error = await failureOf(set(workflowId, name, 9, { expectedVersion }));
      expect([error.code, error.findDetails(VariableConflictSchema)]).toMatchObject([
        Code.Aborted,
        [{ name, currentVersion }],
      ]);
      expect(error.rawMessage).toMatch(
        /^assignment\.expected_version: variable ".+; read it \(GetVariable\)/,
      );
    }
    expect(plain((await get(workflowId, "n")).value)).toBe(2);
  });

  test("a conflict comes before what the value would break", async () => {
    const workflowId = await newId();
    await set(workflowId, "n", 1, { type: VariableType.INTEGER });
    const create = { type: VariableType.STRING, expectedVersion: 0n };
    expect((await refused(set(workflowId, "n", "text", create)))[0]).toBe("Aborted");
  });

  test("forty increments at once lose none", async () => {
    const workflowId = await newId();
    await set(workflowId, "n", 0, { type: VariableType.INTEGER });
    let conflicts = 0;
    const increment = async () => {
      for (;;) {
        const { value, version } = await get(workflowId, "n");
        try {
          await set(workflowId, "n", Number(plain(value)) + 1, { expectedVersion: version });
          return;
        } catch (error) {
          if ((error as { code?: Code }).code !== Code.Aborted) throw error;
          conflicts++;
        }
      }
    };
    await Promise.all(Array.from({ length: 40 }, increment));
    expect(conflicts).toBeGreaterThan(0);
    expect(await get(workflowId, "n")).toMatchObject({ version: 41n, value: json(40) });
  });
});

describe("several at once", () => {
  test("are set in order, at offsets that follow one another, answered without constraints and metadata", async () => {
    const workflowId = await newId();
    await set(workflowId, "b", 0, {
      type: VariableType.INTEGER,
      constraints: { min: 0 },
      metadata: { a: "b" },
    });
    const assignments = [assign("c", "x"), assign("b", 1), assign("a", [1], { metadata: { k: "v" } })];
    const answer = await server.acme.variables.setVariables({ workflowId, assignments, source: "batch" });
    expect(answer.variables.map((one) => [one.name, one.offset, one.version, one.type, one.source])).toEqual([
      ["c", 3n, 1n, VariableType.JSON, "batch"],
      ["b", 4n, 2n, VariableType.INTEGER, "batch"],
      ["a", 5n, 1n, VariableType.JSON, "batch"],
    ]);
    for (const { constraints, metadata } of answer.variables)
      expect([constraints, metadata]).toEqual([undefined, {}]);
    expect((await get(workflowId, "b")).constraints?.min).toBe(0);
    expect((await get(workflowId, "a")).metadata).toEqual({ k: "v" });
  });

  test.each([
    ["a broken constraint", assign("n", 99), "InvalidArgument", /^assignments\[1\]\.value/],
    [
      "another type",
      assign("n", "x", { type: VariableType.STRING }),
      "FailedPrecondition",
      /^assignments\[1\]\.type/,
    ],
    [
      "a stale version",
      assign("n", 1, { expectedVersion: 7n }),
      "Aborted",
      /^assignments\[1\]\.expected_version/,
    ],
    [
      "a name given twice",
      assign("first", 1),
      "InvalidArgument",
      /^assignments\[1\]\.name: "first" .+ assignments\[0\]/,
    ],
    [
      "large metadata",
      assign("n", 1, { metadata: { a: "x".repeat(16384) } }),
      "InvalidArgument",
      /^assignments\[1\]\.metadata/,
    ],
    [
      "metadata large when merged",
      assign("n", 1, { metadata: { a: "x".repeat(16383) } }),
      "InvalidArgument",
      /^assignments\[1\]\.metadata/,
    ],
    [
      "a character U+0000",
      assign("n", { a: ["\0"] }),
      "InvalidArgument",
      /^assignments\[1\]\.value\["a"\]\[0\]: must not contain/,
    ],
  ])("%s refuses all of them", async (_, bad, code, message) => {
    const workflowId = await newId();
    await set(workflowId, "n", 1, {
      type: VariableType.INTEGER,
      constraints: { max: 9 },
      metadata: { b: "c" },
    });
    const assignments = [assign("first", 1), bad, assign("last", 1)];
    expect(await refused(server.acme.variables.setVariables({ workflowId, assignments }))).toEqual([
      code,
      expect.stringMatching(message),
    ]);
    expect(await names(workflowId)).toEqual(["n"]);
    expect((await get(workflowId, "n")).version).toBe(1n);
  });

  test("all conflicts are named, up to eight", async () => {
    const workflowId = await newId();
    const assignments = Array.from({ length: 10 }, (_, i) => assign(`n${i}`, 1, { expectedVersion: 1n }));
    const error = await failureOf(server.acme.variables.setVariables({ workflowId, assignments }));
    expect(error.findDetails(VariableConflictSchema).map(({ name }) => name)).toEqual(
      Array.from({ length: 8 }, (_, i) => `n${i}`),
    );
    expect(error.rawMessage).toContain("and 9 more are not as expected");
  });

  test("are 1 to 1,000, of at most 1 MiB", async () => {
    const workflowId = await newId();
    const many = (count: number, value: JsonValue) => ({
      workflowId,
      assignments: Array.from({ length: count }, (_, i) => assign(`n${i}`, value)),
    });
    expect((await server.acme.variables.setVariables(many(1000, "x".repeat(900)))).variables).toHaveLength(
      1000,
    );
    expect((await refused(server.acme.variables.setVariables(many(1001, 1))))[1]).toMatch(
      /^assignments must hold at most/,
    );
    expect((await refused(server.acme.variables.setVariables(many(0, 1))))[1]).toMatch(
      /^assignments must hold at least/,
    );
    expect(await refused(server.acme.variables.setVariables(many(1000, "x".repeat(1100))))).toEqual([
      "InvalidArgument",
      expect.stringMatching(/^assignments: .+ 1048576 bytes, found 11\d{5};/),
    ]);
    const numbers = Array.from({ length: 100_000 }, () => 1);
    expect(await refused(server.acme.variables.setVariables(many(3, numbers)))).toEqual([
      "InvalidArgument",
      expect.stringContaining("in protobuf"),
    ]);
  });
});

describe("values that are refused", () => {
  const nested = (depth: number): JsonValue => {
    let value: JsonValue = 1;
    for (let i = 0; i < depth; i++) value = [value];
    return value;
  };

  test("those of more than 256 KiB as JSON", async () => {
    const workflowId = await newId();
    await set(workflowId, "a", "x".repeat(limits.variableBytes - 2));
    expect(await refused(set(workflowId, "a", "x".repeat(limits.variableBytes - 1)))).toEqual([
      "InvalidArgument",
      "assignment.value: must not exceed 262144 bytes as JSON, found 262145; keep it elsewhere and set a reference",
    ]);
    // Each of these takes six characters in JSON.
    expect((await refused(set(workflowId, "a", "\u0001".repeat(50_000))))[0]).toBe("InvalidArgument");
  });

  test("the largest of everything makes an entry that fits", async () => {
    const workflowId = await newId();
    const rest = {
      type: VariableType.CHOICE,
      constraints: {
        choices: Array.from(
          { length: 100 },
          (_, i) => `${String(i).padStart(3, "0")}${"\u0001".repeat(252)}`,
        ),
      },
      metadata: { a: "\u0001".repeat(16383) },
    };
    await set(workflowId, "\u0001".repeat(255), rest.constraints.choices[0] as string, rest);
    const big = "\u0001".repeat(43_690);
    await set(workflowId, "b", big, { metadata: rest.metadata });
    await server.acme.variables.setVariable({
      workflowId,
      assignment: assign("b", big),
      source: "\u0001".repeat(4096),
    });
    const { events } = await server.acme.streams.readEvents({ workflowId, types: [30] });
    for (const { payload } of events) expect(String(payload.value).length).toBeLessThan(limits.payloadBytes);
  });

  test.each([
    ["U+0000 in a text", json("a\0b"), /^assignment\.value: must not contain the character U\+0000/],
    [
      "U+0000 in a nested key",
      json({ a: { "b\0": 1 } }),
      /^a key of assignment\.value\["a"\]: must not contain/,
    ],
    [
      "NaN",
      create(ValueSchema, { kind: { case: "numberValue", value: Number.NaN } }),
      /must be a finite number, found NaN/,
    ],
    ["no kind", create(ValueSchema), /^assignment\.value: has no kind/],
    [
      "no kind within a list",
      create(ValueSchema, {
        kind: { case: "listValue", value: create(ListValueSchema, { values: [create(ValueSchema)] }) },
      }),
      /^assignment\.value\[0\]: has no kind/,
    ],
    ["more than 30 levels", json(nested(31)), /more than 30 lists and objects deep/],
  ])("%s", async (_, value, message) => {
    const call = setVariable(server.acme, await newId(), "a", value);
    expect(await refused(call)).toEqual(["InvalidArgument", expect.stringMatching(message)]);
  });

  test("30 levels are taken", async () => {
    const workflowId = await newId();
    await set(workflowId, "deep", nested(30));
    expect(plain((await get(workflowId, "deep")).value)).toEqual(nested(30));
  });

  test("half of a surrogate pair, which only JSON can say", async () => {
    const response = await fetch(`${server.url}/tributary.v1.VariableService/SetVariable`, {
      method: "POST",
      headers: { authorization: `Bearer ${server.acme.key}`, "content-type": "application/json" },
      body: `{"workflowId": "${await newId()}", "assignment": {"name": "n", "value": {"k\\ud800": 1}}}`,
    });
    expect(await response.json()).toMatchObject({
      code: "invalid_argument",
      message: "a key of assignment.value: must not contain half of a surrogate pair; leave it out",
    });
  });

  test("a source of more than 4 KiB", async () => {
    const call = server.acme.variables.setVariable({
      workflowId: await newId(),
      assignment: assign("a", 1),
      source: "x".repeat(4097),
    });
    expect(await refused(call)).toEqual(["InvalidArgument", expect.stringMatching(/^source: .+ found 4097/)]);
  });
});

describe("listing", () => {
  test("is by name, byte for byte, in pages that miss nothing and repeat nothing", async () => {
    const workflowId = await newId();
    const all = ["B", "a", "Z", "é", "a b", "ab", "😀", "\uffee", "10", "9"];
    for (const name of all) await set(workflowId, name, name);
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await server.acme.variables.listVariables({ workflowId, pageSize: 3, pageToken });
      expect(page.variables.length).toBeLessThanOrEqual(3);
      seen.push(...page.variables.map(({ name }) => name));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(seen).toEqual(all.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
  });

  test("a page has at most 1 MiB, in JSON and in protobuf", async () => {
    const workflowId = await newId();
    for (let i = 0; i < 6; i++) await set(workflowId, `text ${i}`, "x".repeat(250_000));
    const numbers = Array.from({ length: 60_000 }, () => 1);
    for (let i = 0; i < 3; i++) await set(workflowId, `numbers ${i}`, numbers);
    const pages: number[] = [];
    let pageToken = "";
    do {
      const page = await server.acme.variables.listVariables({ workflowId, pageToken });
      pages.push(page.variables.length);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(pages).toEqual([1, 1, 2, 4, 1]);
  });

  test("a foreign token and a size beyond 1,000 are INVALID_ARGUMENT", async () => {
    const workflowId = await newId();
    const { variables } = server.acme;
    expect((await refused(variables.listVariables({ workflowId, pageToken: "x" })))[1]).toMatch(
      /^page_token/,
    );
    expect((await refused(variables.listVariables({ workflowId, pageSize: 1001 })))[1]).toMatch(/^page_size/);
  });
});

describe("deleting", () => {
  const remove = (workflowId: string, name: string, expectedVersion?: bigint) =>
    server.acme.variables.deleteVariable({
      workflowId,
      name,
      ...(expectedVersion !== undefined && { expectedVersion }),
    });

  test("takes it away; set again it is new, but its versions go on", async () => {
    const workflowId = await newId();
    await set(workflowId, "n", 1, {
      type: VariableType.INTEGER,
      metadata: { a: "b" },
      constraints: { max: 3 },
    });
    await set(workflowId, "n", 2);
    expect((await remove(workflowId, "n")).offset).toBe(4n);
    expect((await refused(get(workflowId, "n")))[0]).toBe("NotFound");
    expect(await names(workflowId)).toEqual([]);
    const again = await set(workflowId, "n", "text", { type: VariableType.STRING, expectedVersion: 0n });
    expect(again).toMatchObject({ type: VariableType.STRING, version: 3n, metadata: {} });
    expect(again.constraints).toBeUndefined();
    expect((await entries(workflowId))[3]).not.toHaveProperty("oldValue");
    await remove(workflowId, "n");
    expect((await set(workflowId, "n", 1)).version).toBe(4n);
  });

  test("what is not there is NOT_FOUND and named, another version ABORTED", async () => {
    const workflowId = await newId();
    const missing = await failureOf(remove(workflowId, "none"));
    expect([missing.code, missing.findDetails(MissingVariablesSchema)]).toMatchObject([
      Code.NotFound,
      [{ names: ["none"] }],
    ]);
    await set(workflowId, "n", 1);
    const stale = await failureOf(remove(workflowId, "n", 2n));
    expect([stale.code, stale.findDetails(VariableConflictSchema)]).toMatchObject([
      Code.Aborted,
      [{ name: "n", currentVersion: 1n }],
    ]);
    await remove(workflowId, "n", 1n);
    expect((await refused(remove(workflowId, "n", 1n)))[0]).toBe("NotFound");
  });

  test("a tree goes with its variables", async () => {
    const workflowId = await newId();
    await set(workflowId, "n", 1);
    await server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
    await server.acme.workflows.deleteWorkflowTree({ workflowId });
    const { rows } = await server.pool.query("select from variable where workflow_id = $1", [workflowId]);
    expect(rows).toHaveLength(0);
    expect((await refused(get(workflowId, "n")))[0]).toBe("NotFound");
  });
});

describe("whose they are", () => {
  const every = (clients: typeof server.acme, workflowId: string) => {
    const { variables } = clients;
    return [
      variables.setVariable({ workflowId, assignment: assign("n", 1) }),
      variables.setVariables({ workflowId, assignments: [assign("n", 1)] }),
      variables.deleteVariable({ workflowId, name: "n" }),
      variables.getVariable({ workflowId, name: "n" }),
      variables.listVariables({ workflowId }),
    ];
  };
  const codes = (calls: Promise<unknown>[]) =>
    Promise.all(calls.map(async (call) => (await refused(call))[0]));

  test("an unknown workflow is NOT_FOUND, another tenant's PERMISSION_DENIED", async () => {
    const workflowId = await newId();
    await set(workflowId, "n", 1);
    expect(new Set(await codes(every(server.acme, absentId)))).toEqual(new Set(["NotFound"]));
    expect(new Set(await codes(every(server.globex, workflowId)))).toEqual(new Set(["PermissionDenied"]));
    expect((await get(workflowId, "n")).version).toBe(1n);
  });

  test("a closed workflow's can be read, not changed", async () => {
    const workflowId = await newId();
    await set(workflowId, "n", 1);
    await server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
    const changes = every(server.acme, workflowId).slice(0, 3);
    expect(await codes(changes)).toEqual(Array(3).fill("FailedPrecondition"));
    expect(plain((await get(workflowId, "n")).value)).toBe(1);
    expect(await names(workflowId)).toEqual(["n"]);
  });

  test("stream tokens read them, if they were made for that and for the workflow; they change nothing", async () => {
    const [workflowId, other] = [await newId(), await newId()];
    await set(workflowId, "n", 1);
    const tokenFor = async (includeVariables: boolean) => {
      const { token } = await server.acme.tokens.createStreamToken({
        workflowIds: [workflowId],
        includeVariables,
      });
      return server.clients(token);
    };
    const [seeing, barred] = [await tokenFor(true), await tokenFor(false)];
    expect(plain((await getVariable(seeing, workflowId, "n")).value)).toBe(1);
    expect((await seeing.variables.listVariables({ workflowId })).variables).toHaveLength(1);
    expect(await codes(every(seeing, workflowId).slice(0, 3))).toEqual(Array(3).fill("PermissionDenied"));
    expect(await codes(every(seeing, other))).toEqual(Array(5).fill("PermissionDenied"));
    expect(await codes(every(barred, workflowId))).toEqual(Array(5).fill("PermissionDenied"));
  });
});
