/** Setting, getting, listing and deleting variables, from the words of variable_service.proto alone. */
import type { JsonObject } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import {
  type Variable,
  VariableConflictSchema,
  VariableService,
  VariableType,
} from "../../gen/tributary/v1/variable_service_pb.ts";
import { errorOf } from "../api/codes.ts";
import { transportsOf } from "../api/transports.ts";
import { newFamily, newWorkflow, publish, readAll, repeat, token } from "../api/trees.ts";
import { useServer } from "../support/server.ts";
import { assign, getVariable, plain, setVariable } from "../support/variable-call.ts";
import { post, refused } from "./world.ts";

const server = useServer();
const unknown = "00000000-0000-7000-8000-000000000000";

const conflictOf = async (call: Promise<unknown>) => {
  const error = await refused(call, "Aborted");
  return error
    .findDetails(VariableConflictSchema)
    .map(({ name, currentVersion }) => [name, Number(currentVersion)]);
};

async function listed(workflowId: string): Promise<Variable[]> {
  const all: Variable[] = [];
  for (let pageToken = ""; ; ) {
    const page = await server.acme.variables.listVariables({ workflowId, pageSize: 1000, pageToken });
    all.push(...page.variables);
    if (page.nextPageToken === "") return all;
    pageToken = page.nextPageToken;
  }
}

describe("SetVariable", () => {
  test("answers with the whole variable, as GetVariable does after it", async () => {
    const workflowId = await newWorkflow(server.acme);
    const before = Date.now();
    const { variable } = await server.acme.variables.setVariable({
      workflowId: workflowId.toUpperCase(),
      assignment: assign("a", 1, {
        type: VariableType.INTEGER,
        metadata: { k: "v" },
        constraints: { min: 0 },
      }),
      source: "me",
    });
    expect(variable).toMatchObject({
      workflowId,
      name: "a",
      type: VariableType.INTEGER,
      metadata: { k: "v" },
      version: 1n,
      source: "me",
      offset: 2n,
    });
    expect(variable?.constraints?.min).toBe(0);
    expect(variable?.createdMs).toBe(variable?.updatedMs);
    expect(Math.abs(Number(variable?.createdMs) - before)).toBeLessThan(60_000);
    expect(await getVariable(server.acme, workflowId.toUpperCase(), "a")).toEqual(variable);
  });

  test("versions are 1, 2, 3; created_ms stays, updated_ms, offset and source are of the last change", async () => {
    const workflowId = await newWorkflow(server.acme);
    const first = await setVariable(server.acme, workflowId, "a", 1);
    await publish(server.acme, [token(workflowId, "between")]);
    const { variable } = await server.acme.variables.setVariable({
      workflowId,
      assignment: assign("a", 1),
    });
    expect([first.version, variable?.version]).toEqual([1n, 2n]);
    expect(variable?.createdMs).toBe(first.createdMs);
    expect(variable?.updatedMs).toBeGreaterThanOrEqual(first.updatedMs);
    expect([first.offset, variable?.offset]).toEqual([2n, 4n]);
    expect([first.source, variable?.source]).toEqual(["test", ""]);
  });

  test("every change is an entry of the tree's stream, with the payload that event.proto tells", async () => {
    const { root, grandchild } = await newFamily(server.acme);
    await setVariable(server.acme, grandchild, "a", { x: 1 }, { metadata: { k: "v" } });
    await setVariable(server.acme, grandchild, "a", null, { constraints: {} });
    await setVariable(server.acme, grandchild, "a", 3);
    await server.acme.variables.deleteVariable({ workflowId: grandchild, name: "a", source: "who" });
    const events = (await readAll(server.acme, root)).filter(({ type }) => type >= 30);
    expect(
      events.map(({ type, workflowId, taskExecutionId }) => [type, workflowId, taskExecutionId]),
    ).toEqual([
      ...repeat(3, () => [EventType.VARIABLE_SET, grandchild, ""]),
      [EventType.VARIABLE_DELETED, grandchild, ""],
    ]);
    const payloads = events.map(({ payload }) => JSON.parse(String(payload.value)) as JsonObject);
    expect(payloads[0]).toMatchObject({
      name: "a",
      value: { x: 1 },
      metadata: { k: "v" },
      version: 1,
      source: "test",
    });
    expect(payloads[0]).not.toHaveProperty("oldValue");
    expect(payloads[0]).not.toHaveProperty("constraints");
    expect(payloads[1]).toMatchObject({ value: null, oldValue: { x: 1 }, version: 2 });
    expect(payloads[2]).toHaveProperty("oldValue", null);
    expect(payloads[3]).toMatchObject({ name: "a", oldValue: 3, source: "who", metadata: { k: "v" } });
    expect(payloads[3]).not.toHaveProperty("value");
    const created = payloads.map(({ createdMs }) => createdMs);
    expect(new Set(created).size).toBe(1);
    expect(typeof created[0]).toBe("number");
  });

  test("metadata: empty keeps it, given is merged, clear_metadata empties it first", async () => {
    const workflowId = await newWorkflow(server.acme);
    const set = async (rest: object) => (await setVariable(server.acme, workflowId, "a", 1, rest)).metadata;
    expect(await set({ metadata: { a: "1", b: "2" } })).toEqual({ a: "1", b: "2" });
    expect(await set({})).toEqual({ a: "1", b: "2" });
    expect(await set({ metadata: { b: "", c: "3" } })).toEqual({ a: "1", b: "", c: "3" });
    expect(await set({ metadata: { z: "0" }, clearMetadata: true })).toEqual({ z: "0" });
    expect(await set({ clearMetadata: true })).toEqual({});
    expect((await getVariable(server.acme, workflowId, "a")).metadata).toEqual({});
  });

  test("a stale expected_version is ABORTED with the current one in the details, over every protocol", async () => {
    const workflowId = await newWorkflow(server.acme);
    await setVariable(server.acme, workflowId, "a", 1);
    await setVariable(server.acme, workflowId, "a", 2);
    for (const [protocol, transport] of transportsOf(server.url, server.acme.key)) {
      const variables = createClient(VariableService, transport);
      const call = (name: string, expectedVersion: bigint) =>
        variables.setVariable({ workflowId, assignment: assign(name, 9, { expectedVersion }) });
      expect(await conflictOf(call("a", 1n)), protocol).toEqual([["a", 2]]);
      expect(await conflictOf(call("a", 3n)), protocol).toEqual([["a", 2]]);
      expect(await conflictOf(call("a", 0n)), protocol).toEqual([["a", 2]]);
      expect(await conflictOf(call("none", 1n)), protocol).toEqual([["none", 0]]);
    }
    expect((await setVariable(server.acme, workflowId, "a", 3, { expectedVersion: 2n })).version).toBe(3n);
    expect((await setVariable(server.acme, workflowId, "b", 3, { expectedVersion: 0n })).version).toBe(1n);
  });

  test.each([9007199254740991n, 9007199254740992n, 9223372036854775808n, 18446744073709551615n])(
    "expected_version %i is stale or malformed, never INTERNAL",
    async (expectedVersion) => {
      const workflowId = await newWorkflow(server.acme);
      await setVariable(server.acme, workflowId, "a", 1);
      const { variables } = server.acme;
      for (const call of [
        () => variables.setVariable({ workflowId, assignment: assign("a", 1, { expectedVersion }) }),
        () => variables.deleteVariable({ workflowId, name: "a", expectedVersion }),
      ])
        expect((await errorOf(call())).message).toMatch(/^\[(aborted|invalid_argument)\]/);
    },
  );

  test("of writers who expect the same version one wins, and no version is given twice", async () => {
    const workflowId = await newWorkflow(server.acme);
    await setVariable(server.acme, workflowId, "n", 0);
    const increment = async () => {
      for (;;) {
        const { value, version } = await getVariable(server.acme, workflowId, "n");
        const next = Number(plain(value)) + 1;
        try {
          return await setVariable(server.acme, workflowId, "n", next, { expectedVersion: version });
        } catch (error) {
          expect(String(error)).toContain("[aborted]");
        }
      }
    };
    const answers = await Promise.all(repeat(12, increment));
    expect(new Set(answers.map(({ version }) => version)).size).toBe(12);
    const last = await getVariable(server.acme, workflowId, "n");
    expect([plain(last.value), last.version]).toEqual([12, 13n]);
  });

  test("of writers who expect that it does not exist one wins", async () => {
    const workflowId = await newWorkflow(server.acme);
    const answers = await Promise.allSettled(
      repeat(12, (i) => setVariable(server.acme, workflowId, "n", i, { expectedVersion: 0n })),
    );
    expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const answer of answers)
      if (answer.status === "rejected") expect(String(answer.reason)).toContain("[aborted]");
  });

  test("writers without an expectation all win, one after the other", async () => {
    const workflowId = await newWorkflow(server.acme);
    const answers = await Promise.all(repeat(40, (i) => setVariable(server.acme, workflowId, "n", i)));
    expect(answers.map(({ version }) => Number(version)).sort((a, b) => a - b)).toEqual(
      repeat(40, (i) => i + 1),
    );
    const last = answers.find(({ version }) => version === 40n);
    expect(await getVariable(server.acme, workflowId, "n")).toEqual(last);
  });

  test("workflows do not share names, parents and children neither", async () => {
    const { root, child } = await newFamily(server.acme);
    await setVariable(server.acme, root, "a", "root");
    const set = await setVariable(server.acme, child, "a", "child", { expectedVersion: 0n });
    expect(set.version).toBe(1n);
    expect(plain((await getVariable(server.acme, root, "a")).value)).toBe("root");
    expect((await listed(child)).map(({ value }) => plain(value))).toEqual(["child"]);
  });

  test("a closed workflow is FAILED_PRECONDITION for writers and still read", async () => {
    const { root, child } = await newFamily(server.acme);
    await setVariable(server.acme, child, "a", 1);
    const { variables, workflows } = server.acme;
    await workflows.closeWorkflow({ workflowId: child, status: WorkflowStatus.FAILED });
    await refused(setVariable(server.acme, child, "a", 2), "FailedPrecondition");
    await refused(
      variables.setVariables({ workflowId: child, assignments: [assign("b", 2)] }),
      "FailedPrecondition",
    );
    await refused(variables.deleteVariable({ workflowId: child, name: "a" }), "FailedPrecondition");
    expect(plain((await getVariable(server.acme, child, "a")).value)).toBe(1);
    expect(await listed(child)).toHaveLength(1);
    await setVariable(server.acme, root, "a", 2);
  });
});

describe("every RPC that names a workflow", () => {
  const calls = (workflowId: string, { variables } = server.acme) => ({
    set: () => variables.setVariable({ workflowId, assignment: assign("a", 1) }),
    setMany: () => variables.setVariables({ workflowId, assignments: [assign("a", 1)] }),
    get: () => variables.getVariable({ workflowId, name: "a" }),
    list: () => variables.listVariables({ workflowId }),
    remove: () => variables.deleteVariable({ workflowId, name: "a" }),
    watch: () => variables.watchVariables({ workflowId }),
    watchNames: () => variables.watchVariables({ workflowId, names: ["a"], allowMissing: true }),
  });

  test("an unknown one is NOT_FOUND", async () => {
    for (const call of Object.values(calls(unknown))) await refused(call(), "NotFound", unknown);
  });

  test("another tenant's is PERMISSION_DENIED", async () => {
    const workflowId = await newWorkflow(server.globex);
    await setVariable(server.globex, workflowId, "a", 1);
    for (const call of Object.values(calls(workflowId))) await refused(call(), "PermissionDenied");
  });

  test.each(["", "x", "00000000000070008000000000000000", "{00000000-0000-7000-8000-000000000000}"])(
    "%j is INVALID_ARGUMENT at workflow_id",
    async (id) => {
      for (const call of Object.values(calls(id))) await refused(call(), "InvalidArgument", "workflow_id");
    },
  );

  test("one of a deleted tree is NOT_FOUND", async () => {
    const workflowId = await newWorkflow(server.acme);
    await setVariable(server.acme, workflowId, "a", 1);
    await server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
    await server.acme.workflows.deleteWorkflowTree({ workflowId });
    for (const call of Object.values(calls(workflowId))) await refused(call(), "NotFound");
  });

  test("a credential that is none is UNAUTHENTICATED", async () => {
    const workflowId = await newWorkflow(server.acme);
    const nobody = server.clients("nonsense");
    for (const call of Object.values(calls(workflowId, nobody))) await refused(call(), "Unauthenticated");
  });
});

describe("SetVariables", () => {
  const setAll = (workflowId: string, assignments: ReturnType<typeof assign>[], source = "") =>
    server.acme.variables.setVariables({ workflowId, assignments, source });

  test("sets all in the order given, at consecutive offsets, and answers without constraints and metadata", async () => {
    const workflowId = await newWorkflow(server.acme);
    await setVariable(server.acme, workflowId, "m", 0);
    const { variables } = await setAll(
      workflowId,
      [
        assign("z", 1, { type: VariableType.FLOAT, metadata: { k: "v" }, constraints: { max: 3 } }),
        assign("a", 2),
        assign("m", 3, { expectedVersion: 1n }),
      ],
      "who",
    );
    expect(variables.map(({ name, version, offset }) => [name, version, offset])).toEqual([
      ["z", 1n, 3n],
      ["a", 1n, 4n],
      ["m", 2n, 5n],
    ]);
    for (const variable of variables) {
      expect(variable).toMatchObject({ workflowId, metadata: {}, source: "who" });
      expect(variable.constraints).toBeUndefined();
    }
    expect((await getVariable(server.acme, workflowId, "z")).metadata).toEqual({ k: "v" });
    expect((await getVariable(server.acme, workflowId, "z")).constraints?.max).toBe(3);
  });

  test.each([
    ["a broken constraint", assign("b", 9), "InvalidArgument", "assignments[1].value"],
    ["another type", assign("b", "x", { type: VariableType.STRING }), "FailedPrecondition", "b"],
    ["a stale version", assign("b", 1, { expectedVersion: 7n }), "Aborted", "b"],
    ["U+0000 in a name", assign("\0", 1), "InvalidArgument", "assignments[1].name"],
    ["a name twice", assign("a", 1), "InvalidArgument", "assignments[1].name"],
    [
      "metadata too large",
      assign("b", 1, { metadata: { a: "x".repeat(17_000) } }),
      "InvalidArgument",
      "assignments[1].metadata",
    ],
    [
      "a value too large",
      assign("b", "x".repeat(262_144), { type: 0 }),
      "InvalidArgument",
      "assignments[1].value",
    ],
    [
      "a bad pattern",
      assign("c", "x", { type: VariableType.STRING, constraints: { pattern: "(" } }),
      "InvalidArgument",
      "assignments[1].constraints.pattern",
    ],
  ] as const)("all or none: %s stores nothing and names the place", async (_, second, code, words) => {
    const workflowId = await newWorkflow(server.acme);
    await setVariable(server.acme, workflowId, "b", 1, {
      type: VariableType.INTEGER,
      constraints: { max: 5 },
    });
    await refused(setAll(workflowId, [assign("a", 1), second, assign("d", 1)]), code, words);
    expect((await listed(workflowId)).map(({ name, version }) => [name, version])).toEqual([["b", 1n]]);
    expect(await readAll(server.acme, workflowId)).toHaveLength(2);
  });

  test("a conflict among many is told with its name and version", async () => {
    const workflowId = await newWorkflow(server.acme);
    await setVariable(server.acme, workflowId, "b", 1);
    const call = setAll(workflowId, [assign("a", 1), assign("b", 2, { expectedVersion: 0n })]);
    expect(await conflictOf(call)).toEqual([["b", 1]]);
  });

  test("1000 are taken; 1001 and none are INVALID_ARGUMENT at assignments", async () => {
    const workflowId = await newWorkflow(server.acme);
    const many = (count: number) => repeat(count, (i) => assign(`v${i}`, i));
    const { variables } = await setAll(workflowId, many(1000));
    expect(variables.map(({ name }) => name)).toEqual(many(1000).map(({ name }) => name));
    await refused(setAll(workflowId, many(1001)), "InvalidArgument", "assignments");
    await refused(setAll(workflowId, []), "InvalidArgument", "assignments");
    expect(await listed(workflowId)).toHaveLength(1000);
  });

  test("just below 1 MiB in all is taken, well over it is INVALID_ARGUMENT at assignments", async () => {
    const workflowId = await newWorkflow(server.acme);
    const four = (bytes: number) => repeat(4, (i) => assign(`v${i}`, "x".repeat(bytes)));
    expect((await setAll(workflowId, four(262_144 - 600))).variables).toHaveLength(4);
    await refused(
      setAll(workflowId, [...four(262_100), assign("w", "x".repeat(262_100))]),
      "InvalidArgument",
      "assignments",
    );
    await refused(
      setAll(
        workflowId,
        repeat(80, (i) => assign(`m${i}`, 1, { metadata: { a: "x".repeat(15_000) } })),
      ),
      "InvalidArgument",
      "assignments",
    );
  });

  test("sets of the same names at the same time, in different orders, do not lock each other out", async () => {
    const workflowId = await newWorkflow(server.acme);
    const names = repeat(20, (i) => `n${i}`);
    await Promise.all(
      repeat(20, (i) =>
        setAll(
          workflowId,
          (i % 2 === 0 ? names : names.toReversed()).map((name) => assign(name, i)),
        ),
      ),
    );
    const all = await listed(workflowId);
    expect(all.map(({ version }) => Number(version))).toEqual(repeat(20, () => 20));
    expect(new Set(all.map(({ value }) => plain(value))).size).toBe(1);
  });
});

describe("GetVariable and ListVariables", () => {
  test("an unknown variable is NOT_FOUND and named", async () => {
    const workflowId = await newWorkflow(server.acme);
    await refused(server.acme.variables.getVariable({ workflowId, name: "nope" }), "NotFound", "nope");
    await refused(server.acme.variables.getVariable({ workflowId, name: "" }), "InvalidArgument", "name");
    await refused(
      server.acme.variables.getVariable({ workflowId, name: "n".repeat(256) }),
      "InvalidArgument",
      "name",
    );
  });

  test("lists by name, whole variables, in pages that join without a hole", async () => {
    const workflowId = await newWorkflow(server.acme);
    const names = ["b", "a", "B", "é", "z10", "z9", "", "😀", "_"].filter((name) => name !== "");
    for (const name of names)
      await setVariable(server.acme, workflowId, name, name, { metadata: { n: name } });
    const whole = await listed(workflowId);
    expect(whole.map(({ name }) => name).toSorted()).toEqual(names.toSorted());
    for (const variable of whole)
      expect(variable).toEqual(await getVariable(server.acme, workflowId, variable.name));
    for (const pageSize of [1, 2, 3, 8]) {
      const paged: Variable[] = [];
      let pageToken = "";
      do {
        const page = await server.acme.variables.listVariables({ workflowId, pageSize, pageToken });
        expect(page.variables.length).toBeLessThanOrEqual(pageSize);
        paged.push(...page.variables);
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      expect(paged).toEqual(whole);
    }
  });

  test("the order by name is that of the characters' numbers", async () => {
    const workflowId = await newWorkflow(server.acme);
    const names = ["B", "Z", "_", "a", "a b", "a.b", "ab", "z", "é"];
    for (const name of names.toReversed()) await setVariable(server.acme, workflowId, name, 1);
    expect((await listed(workflowId)).map(({ name }) => name)).toEqual(names);
  });

  test("a page is 100 without a size, 1000 at most, and 1001 is INVALID_ARGUMENT at page_size", async () => {
    const workflowId = await newWorkflow(server.acme);
    const { variables } = server.acme;
    for (const from of [0, 1000])
      await variables.setVariables({
        workflowId,
        assignments: repeat(from === 0 ? 1000 : 1, (i) => assign(`v${from + i}`, 1)),
      });
    expect((await variables.listVariables({ workflowId })).variables).toHaveLength(100);
    const page = await variables.listVariables({ workflowId, pageSize: 1000 });
    expect(page.variables).toHaveLength(1000);
    expect(page.nextPageToken).not.toBe("");
    await refused(variables.listVariables({ workflowId, pageSize: 1001 }), "InvalidArgument", "page_size");
    const exact = await newWorkflow(server.acme);
    await variables.setVariables({ workflowId: exact, assignments: [assign("a", 1), assign("b", 1)] });
    const last = await variables.listVariables({ workflowId: exact, pageSize: 2 });
    const rest =
      last.nextPageToken === ""
        ? undefined
        : await variables.listVariables({ workflowId: exact, pageSize: 2, pageToken: last.nextPageToken });
    expect(rest?.variables ?? []).toEqual([]);
    expect(last.nextPageToken).toBe("");
  });

  test("a page closes at 1 MiB", async () => {
    const workflowId = await newWorkflow(server.acme);
    for (let i = 0; i < 9; i++) await setVariable(server.acme, workflowId, `v${i}`, "x".repeat(262_000));
    const page = await server.acme.variables.listVariables({ workflowId });
    expect(page.variables.length).toBeGreaterThan(0);
    expect(page.variables.length).toBeLessThanOrEqual(4);
    expect(page.nextPageToken).not.toBe("");
    expect((await listed(workflowId)).map(({ name }) => name)).toEqual(repeat(9, (i) => `v${i}`));
  });

  test("a page also closes at 1 MiB of metadata", async () => {
    const workflowId = await newWorkflow(server.acme);
    const { variables } = server.acme;
    for (let set = 0; set < 5; set++)
      await variables.setVariables({
        workflowId,
        assignments: repeat(50, (i) => assign(`v${set}-${i}`, 1, { metadata: { a: "x".repeat(16_000) } })),
      });
    const page = await variables.listVariables({ workflowId, pageSize: 1000 });
    expect(page.variables.length).toBeLessThanOrEqual(66);
    expect(await listed(workflowId)).toHaveLength(250);
  });

  test("pages go on where they were, though variables come and go between them", async () => {
    const workflowId = await newWorkflow(server.acme);
    for (const name of ["b", "d", "f", "h"]) await setVariable(server.acme, workflowId, name, 1);
    const { variables } = server.acme;
    const first = await variables.listVariables({ workflowId, pageSize: 2 });
    expect(first.variables.map(({ name }) => name)).toEqual(["b", "d"]);
    await variables.deleteVariable({ workflowId, name: "d" });
    await variables.deleteVariable({ workflowId, name: "f" });
    await setVariable(server.acme, workflowId, "a", 1);
    await setVariable(server.acme, workflowId, "g", 1);
    const rest = await variables.listVariables({ workflowId, pageToken: first.nextPageToken });
    expect(rest.variables.map(({ name }) => name)).toEqual(["g", "h"]);
  });

  test.each(["nonsense", "😀", "AAAA", "%", "x".repeat(10_000), "\0"])(
    "a page token that is none is INVALID_ARGUMENT at page_token (%#)",
    async (pageToken) => {
      const workflowId = await newWorkflow(server.acme);
      await refused(
        server.acme.variables.listVariables({ workflowId, pageToken }),
        "InvalidArgument",
        "page_token",
      );
    },
  );

  test("numbers in JSON are texts and enums names, as Connect does", async () => {
    const workflowId = await newWorkflow(server.acme);
    await setVariable(server.acme, workflowId, "a", 1.5, { type: VariableType.FLOAT });
    const { body } = await post(
      server.acme,
      "VariableService/GetVariable",
      JSON.stringify({ workflowId, name: "a" }),
    );
    expect(body["variable"]).toMatchObject({
      workflowId,
      type: "VARIABLE_TYPE_FLOAT",
      value: 1.5,
      version: "1",
      offset: "2",
    });
  });
});

describe("DeleteVariable", () => {
  test("removes it, and versions go on when it is set again", async () => {
    const workflowId = await newWorkflow(server.acme);
    const { variables } = server.acme;
    await setVariable(server.acme, workflowId, "a", 1, { metadata: { k: "v" } });
    await setVariable(server.acme, workflowId, "a", 2);
    const { offset } = await variables.deleteVariable({ workflowId, name: "a" });
    expect(offset).toBe(4n);
    await refused(variables.getVariable({ workflowId, name: "a" }), "NotFound", "a");
    expect(await listed(workflowId)).toEqual([]);
    await refused(variables.deleteVariable({ workflowId, name: "a" }), "NotFound", "a");
    const again = await setVariable(server.acme, workflowId, "a", 3, { expectedVersion: 0n });
    expect(again.version).toBeGreaterThan(2n);
    expect(again.metadata).toEqual({});
    for (let i = 0; i < 3; i++) {
      const { version } = await getVariable(server.acme, workflowId, "a");
      await variables.deleteVariable({ workflowId, name: "a", expectedVersion: version });
      expect((await setVariable(server.acme, workflowId, "a", 3)).version).toBeGreaterThan(version);
    }
  });

  test("versions are 1, 2, 3 … also over deletions: no number is left out", async () => {
    const workflowId = await newWorkflow(server.acme);
    await setVariable(server.acme, workflowId, "a", 1);
    await server.acme.variables.deleteVariable({ workflowId, name: "a" });
    const { version } = await setVariable(server.acme, workflowId, "a", 2);
    expect([2n, 3n]).toContain(version);
  });

  test("an expected_version that is of before the deletion stays stale for ever", async () => {
    const workflowId = await newWorkflow(server.acme);
    const { variables } = server.acme;
    await setVariable(server.acme, workflowId, "a", 1);
    await variables.deleteVariable({ workflowId, name: "a" });
    const expectedVersion = 1n;
    expect(await conflictOf(setVariable(server.acme, workflowId, "a", 2, { expectedVersion }))).toEqual([
      ["a", 0],
    ]);
    await setVariable(server.acme, workflowId, "a", 2);
    const call = setVariable(server.acme, workflowId, "a", 2, { expectedVersion });
    expect(await conflictOf(call)).toEqual([
      ["a", Number((await getVariable(server.acme, workflowId, "a")).version)],
    ]);
  });

  test("a stale expected_version is ABORTED with the current one; 0 never fits one that exists", async () => {
    const workflowId = await newWorkflow(server.acme);
    const { variables } = server.acme;
    await setVariable(server.acme, workflowId, "a", 1);
    for (const expectedVersion of [0n, 2n])
      expect(await conflictOf(variables.deleteVariable({ workflowId, name: "a", expectedVersion }))).toEqual([
        ["a", 1],
      ]);
    await refused(variables.deleteVariable({ workflowId, name: "nope" }), "NotFound", "nope");
    await refused(variables.deleteVariable({ workflowId, name: "" }), "InvalidArgument", "name");
  });

  test("a new variable of the same name may have another type and no old constraints", async () => {
    const workflowId = await newWorkflow(server.acme);
    await setVariable(server.acme, workflowId, "a", 1, {
      type: VariableType.INTEGER,
      constraints: { max: 5 },
    });
    await server.acme.variables.deleteVariable({ workflowId, name: "a" });
    const again = await setVariable(server.acme, workflowId, "a", "text", { type: VariableType.STRING });
    expect(again.type).toBe(VariableType.STRING);
    expect(again.constraints?.max).toBeUndefined();
  });
});
