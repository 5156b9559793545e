/** Values, types and constraints of variables, from the words of variable_service.proto alone. */
import type { JsonValue } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { VariableService, VariableType } from "../../gen/tributary/v1/variable_service_pb.ts";
import { transportsOf } from "../api/transports.ts";
import { newWorkflow, repeat } from "../api/trees.ts";
import { useServer } from "../support/server.ts";
import { getVariable, json, plain, setVariable, Watching } from "../support/variable-call.ts";
import { double, nested, post, refused, text } from "./world.ts";

const server = useServer();
const { BOOLEAN, INTEGER, FLOAT, STRING, CHOICE, JSON: ANY } = VariableType;

async function set(name: string, value: JsonValue | ReturnType<typeof json>, rest = {}, workflowId?: string) {
  const id = workflowId ?? (await newWorkflow(server.acme));
  return setVariable(server.acme, id, name, value, rest);
}

describe("a value comes back as it went in", () => {
  const values: JsonValue[] = [
    null,
    true,
    false,
    0,
    "",
    "Zażółć 漢字 😀 \u{10FFFF} \u0001 \u007f \u2028",
    "é vs e\u0301",
    [],
    {},
    [null, [null], {}],
    { "": "", a: { b: [1, "2", null, true] }, "a.b": 1, "ключ 😀": {} },
    { constructor: 1, toString: 2, hasOwnProperty: 3 },
    5e-324,
    -5e-324,
    1.7976931348623157e308,
    0.1 + 0.2,
    1 / 3,
    1e21,
    1e-7,
    123456789.12345679,
    9007199254740991,
    -9007199254740991,
    9007199254740992,
    2.2250738585072014e-308,
    4.35,
  ];
  test.each(values)("%j, in the answer, when it is got, listed and watched", async (value) => {
    const workflowId = await newWorkflow(server.acme);
    const answer = await setVariable(server.acme, workflowId, "v", value);
    expect(plain(answer.value)).toEqual(value);
    expect(plain((await getVariable(server.acme, workflowId, "v")).value)).toEqual(value);
    const { variables } = await server.acme.variables.listVariables({ workflowId });
    expect(plain(variables[0]?.value)).toEqual(value);
    await using watch = new Watching(server.acme, { workflowId, includeInitialValues: true });
    await watch.until(() => expect(watch.cases).toContain("snapshotComplete"));
    expect(plain(watch.updates[0]?.variable?.value)).toEqual(value);
  });

  test("an own key called __proto__ is a key like others", async () => {
    const workflowId = await newWorkflow(server.acme);
    const body = `{"workflowId":"${workflowId}","assignment":{"name":"v","value":{"__proto__":{"a":1},"b":2}}}`;
    const set = await post(server.acme, "VariableService/SetVariable", body);
    expect(set.status, JSON.stringify(set.body)).toBe(200);
    const got = await post(
      server.acme,
      "VariableService/GetVariable",
      `{"workflowId":"${workflowId}","name":"v"}`,
    );
    expect(JSON.stringify(got.body)).toContain('"__proto__":{"a":1}');
  });

  test.each(["__proto__", "constructor", "toString", " ", "a\nb", "a/b", "😀", "\u0001", "A", "a"])(
    "a variable may be called %j, and its metadata's key too",
    async (name) => {
      const workflowId = await newWorkflow(server.acme);
      const metadata = Object.fromEntries([[name, name]]);
      await setVariable(server.acme, workflowId, name, 1, { metadata });
      const got = await getVariable(server.acme, workflowId, name);
      expect(got.name).toBe(name);
      expect(Object.entries(got.metadata)).toEqual([[name, name]]);
    },
  );

  test("names that differ in case or in normal form are different", async () => {
    const workflowId = await newWorkflow(server.acme);
    const names = ["a", "A", "é", "e\u0301", "a "];
    for (const name of names) await setVariable(server.acme, workflowId, name, name);
    for (const name of names)
      expect(plain((await getVariable(server.acme, workflowId, name)).value)).toBe(name);
  });

  test("negative zero keeps its sign as a FLOAT", async () => {
    const workflowId = await newWorkflow(server.acme);
    await setVariable(server.acme, workflowId, "z", double(-0), { type: FLOAT });
    const got = await getVariable(server.acme, workflowId, "z");
    expect(Object.is(got.value?.kind.value, -0)).toBe(true);
  });

  test("null in a request in JSON is the value null, in every protocol", async () => {
    const workflowId = await newWorkflow(server.acme);
    const body = `{"workflowId":"${workflowId}","assignment":{"name":"v","value":null}}`;
    expect((await post(server.acme, "VariableService/SetVariable", body)).status).toBe(200);
    expect(plain((await getVariable(server.acme, workflowId, "v")).value)).toBe(null);
    for (const [protocol, transport] of transportsOf(server.url, server.acme.key)) {
      const variables = createClient(VariableService, transport);
      const { variable } = await variables.setVariable({
        workflowId,
        assignment: { name: protocol, value: json(null) },
      });
      expect(variable?.value?.kind.case, protocol).toBe("nullValue");
      const again = await variables.getVariable({ workflowId, name: protocol });
      expect(again.variable?.value?.kind.case, protocol).toBe("nullValue");
    }
  });

  test("floats and Unicode are the same over every protocol", async () => {
    const workflowId = await newWorkflow(server.acme);
    const value = { f: [5e-324, 1.7976931348623157e308, 0.1 + 0.2, -1e-300], s: "漢 😀 \u{10FFFF}" };
    for (const [protocol, transport] of transportsOf(server.url, server.acme.key)) {
      const variables = createClient(VariableService, transport);
      const { variable } = await variables.setVariable({
        workflowId,
        assignment: { name: protocol, value: json(value), metadata: { "k 漢": "😀" } },
        source: "ß",
      });
      expect(plain(variable?.value), protocol).toEqual(value);
      expect(variable?.metadata, protocol).toEqual({ "k 漢": "😀" });
      expect(variable?.source, protocol).toBe("ß");
    }
  });

  test.each([10, 24, 30])("JSON %i levels deep", async (depth) => {
    expect(plain((await set("deep", nested(depth))).value)).toEqual(nested(depth));
  });

  // Protobuf readers stop at 100 levels of messages, of which each level of JSON takes three (docs/variables.md).
  test.each([31, 45])("JSON %i levels deep is too deep for readers, and refused", async (depth) => {
    await refused(set("deep", nested(depth)), "InvalidArgument", "assignment.value");
  });

  test.each([200, 3000, 20_000])("JSON %i levels deep is taken or refused, never INTERNAL", async (depth) => {
    const workflowId = await newWorkflow(server.acme);
    const value = `${"[".repeat(depth)}${"]".repeat(depth)}`;
    const body = `{"workflowId":"${workflowId}","assignment":{"name":"deep","value":${value}}}`;
    const answer = await post(server.acme, "VariableService/SetVariable", body);
    if (answer.status === 200) {
      const got = await post(
        server.acme,
        "VariableService/GetVariable",
        `{"workflowId":"${workflowId}","name":"deep"}`,
      );
      expect(got.status).toBe(200);
    } else expect(answer.body.code).toBe("invalid_argument");
  });
});

describe("what no value can hold", () => {
  test.each([
    ["a text", "a\0b"],
    ["a key", { "a\0b": 1 }],
    ["a text deep inside", [{ a: ["\0"] }]],
  ] as [string, JsonValue][])("U+0000 in %s is INVALID_ARGUMENT at assignment.value", async (_, value) => {
    await refused(set("v", value), "InvalidArgument", "assignment.value");
  });

  test("U+0000 is refused in name, source and metadata with the field's path", async () => {
    const workflowId = await newWorkflow(server.acme);
    const { variables } = server.acme;
    const one = { name: "v", value: json(1) };
    await refused(
      variables.setVariable({ workflowId, assignment: { ...one, name: "a\0" } }),
      "InvalidArgument",
      "assignment.name",
    );
    await refused(
      variables.setVariable({ workflowId, assignment: one, source: "a\0" }),
      "InvalidArgument",
      "source",
    );
    await refused(
      variables.setVariable({ workflowId, assignment: { ...one, metadata: { "a\0": "" } } }),
      "InvalidArgument",
      "assignment.metadata",
    );
    await refused(
      variables.setVariable({ workflowId, assignment: { ...one, metadata: { a: "\0" } } }),
      "InvalidArgument",
      "assignment.metadata",
    );
    await refused(variables.getVariable({ workflowId, name: "a\0" }), "InvalidArgument", "name");
    await refused(
      variables.deleteVariable({ workflowId, name: "a", source: "\0" }),
      "InvalidArgument",
      "source",
    );
    await refused(variables.watchVariables({ workflowId, names: ["\0"] }), "InvalidArgument", "names[0]");
  });

  test.each([NaN, Infinity, -Infinity])("%d is no FLOAT, no INTEGER and no JSON", async (value) => {
    for (const type of [FLOAT, INTEGER, ANY, 0]) {
      await refused(set("v", double(value), { type }), "InvalidArgument", "assignment.value");
    }
  });

  test("an infinity inside a list is refused too", async () => {
    const value = json([1]);
    if (value.kind.case === "listValue") value.kind.value.values.push(double(Infinity));
    await refused(set("v", value), "InvalidArgument", "assignment.value");
  });

  test("a Value without a kind is INVALID_ARGUMENT", async () => {
    const { variables } = server.acme;
    const workflowId = await newWorkflow(server.acme);
    const assignment = { name: "v", value: { kind: { case: undefined } } };
    await refused(variables.setVariable({ workflowId, assignment }), "InvalidArgument", "assignment.value");
    await refused(
      variables.setVariable({ workflowId, assignment: { name: "v" } }),
      "InvalidArgument",
      "assignment.value",
    );
    await refused(variables.setVariable({ workflowId }), "InvalidArgument", "assignment");
  });

  test.each([
    ["value", (id: string) => `{"workflowId":"${id}","assignment":{"name":"v","value":"\\ud800"}}`],
    ["key", (id: string) => `{"workflowId":"${id}","assignment":{"name":"v","value":{"\\udc00":1}}}`],
    ["name", (id: string) => `{"workflowId":"${id}","assignment":{"name":"\\ud800","value":1}}`],
    [
      "source",
      (id: string) => `{"workflowId":"${id}","assignment":{"name":"v","value":1},"source":"\\ud800"}`,
    ],
    [
      "metadata",
      (id: string) => `{"workflowId":"${id}","assignment":{"name":"v","value":1,"metadata":{"a":"\\ud800"}}}`,
    ],
  ])("a lone surrogate in the %s is INVALID_ARGUMENT or replaced, the same on reading", async (_, body) => {
    const workflowId = await newWorkflow(server.acme);
    const answer = await post(server.acme, "VariableService/SetVariable", body(workflowId));
    if (answer.status !== 200) expect(answer.body.code, answer.body.message).toBe("invalid_argument");
    const { variables } = await server.acme.variables.listVariables({ workflowId });
    expect(variables).toHaveLength(answer.status === 200 ? 1 : 0);
  });

  // Known (docs/spec.md): Connect answers this before the service is asked. A request that cannot be decoded is answered with INTERNAL, which stands for a bug of the server.
  test.fails("bytes that are no UTF-8 are INVALID_ARGUMENT, never INTERNAL", async () => {
    const workflowId = await newWorkflow(server.acme);
    const id = new TextEncoder().encode(workflowId);
    // assignment { name: "\xed\xa0\x80", value: { string: "\xff" } }
    const assignment = [0x0a, 3, 0xed, 0xa0, 0x80, 0x1a, 3, 0x1a, 1, 0xff];
    const body = new Uint8Array([0x0a, id.length, ...id, 0x12, assignment.length, ...assignment]);
    const answer = await post(server.acme, "VariableService/SetVariable", body, "application/proto");
    expect(answer.body.code).toBe("invalid_argument");
  });

  test.each([
    ["no JSON", "{", "application/json"],
    ["a wrong type", `{"workflowId":5}`, "application/json"],
    ["an unknown enum", `{"assignment":{"name":"a","type":"NOPE"}}`, "application/json"],
  ])("a body that is %s is INVALID_ARGUMENT", async (_, body, contentType) => {
    const answer = await post(server.acme, "VariableService/SetVariable", body, contentType);
    expect(answer.body.code, JSON.stringify(answer.body)).toBe("invalid_argument");
  });

  // As above.
  test.fails("a body that is no protobuf is INVALID_ARGUMENT", async () => {
    const body = new Uint8Array([0xff, 0xff, 0xff]);
    const answer = await post(server.acme, "VariableService/SetVariable", body, "application/proto");
    expect(answer.body.code, JSON.stringify(answer.body)).toBe("invalid_argument");
  });
});

describe("types", () => {
  const good: [VariableType, JsonValue][] = [
    [BOOLEAN, true],
    [INTEGER, 0],
    [INTEGER, 9007199254740991],
    [INTEGER, -9007199254740991],
    [INTEGER, 1e3],
    [FLOAT, 1],
    [FLOAT, -1.5e300],
    [STRING, ""],
    [STRING, "1"],
    [ANY, null],
    [ANY, "x"],
  ];
  test.each(good)("type %i takes %j", async (type, value) => {
    const variable = await set("v", value, { type });
    expect([variable.type, plain(variable.value)]).toEqual([type, value]);
  });

  const bad: [VariableType, JsonValue][] = [
    [BOOLEAN, "true"],
    [BOOLEAN, 1],
    [BOOLEAN, null],
    [INTEGER, 1.5],
    [INTEGER, 9007199254740992],
    [INTEGER, -9007199254740992],
    [INTEGER, "1"],
    [INTEGER, true],
    [INTEGER, null],
    [FLOAT, "1.5"],
    [FLOAT, null],
    [STRING, 1],
    [STRING, null],
    [STRING, ["a"]],
    [CHOICE, null],
    [CHOICE, 1],
  ];
  test.each(bad)("type %i refuses %j as INVALID_ARGUMENT at assignment.value", async (type, value) => {
    const constraints = type === CHOICE ? { constraints: { choices: ["a", "1", "null"] } } : {};
    await refused(set("v", value, { type, ...constraints }), "InvalidArgument", "assignment.value");
  });

  test("without a type it is JSON, and says so", async () => {
    expect((await set("v", 1)).type).toBe(ANY);
  });

  test("an unknown type is INVALID_ARGUMENT at assignment.type", async () => {
    await refused(set("v", 1, { type: 7 }), "InvalidArgument", "assignment.type");
    await refused(set("v", 1, { type: -1 }), "InvalidArgument", "assignment.type");
  });

  test("a later type 0 keeps the type, which is still enforced; the same one is taken; another one is FAILED_PRECONDITION", async () => {
    const workflowId = await newWorkflow(server.acme);
    await set("v", 1, { type: INTEGER }, workflowId);
    expect((await set("v", 2, {}, workflowId)).type).toBe(INTEGER);
    expect((await set("v", 3, { type: INTEGER }, workflowId)).version).toBe(3n);
    await refused(set("v", "x", {}, workflowId), "InvalidArgument", "assignment.value");
    for (const type of [FLOAT, STRING, ANY])
      await refused(set("v", 4, { type }, workflowId), "FailedPrecondition");
    expect((await getVariable(server.acme, workflowId, "v")).version).toBe(3n);
  });

  test("a variable without a type may later be called JSON, and nothing else", async () => {
    const workflowId = await newWorkflow(server.acme);
    await set("v", 1, {}, workflowId);
    expect((await set("v", "x", { type: ANY }, workflowId)).version).toBe(2n);
    await refused(set("v", 1, { type: INTEGER }, workflowId), "FailedPrecondition");
  });
});

describe("constraints", () => {
  const cases: [string, VariableType, object, JsonValue[], JsonValue[]][] = [
    ["min", INTEGER, { min: -3 }, [-3, 0, 9007199254740991], [-4]],
    ["max", FLOAT, { max: 0.5 }, [0.5, -1e300], [0.5000000000000001, 1]],
    ["min", FLOAT, { min: 0 }, [0, 5e-324], [-5e-324]],
    ["min_length", STRING, { minLength: 2 }, ["ab", "😀😀", "漢字"], ["", "a", "😀"]],
    ["max_length", STRING, { maxLength: 1 }, ["", "a", "😀", "漢"], ["ab", "😀😀"]],
    ["max_length", STRING, { maxLength: 0 }, [""], ["a"]],
    ["pattern", STRING, { pattern: "a|ab" }, ["a", "ab"], ["", "abc", "xa", "b"]],
    ["pattern", STRING, { pattern: "a.b" }, ["axb", "a😀b"], ["a\nb", "ab"]],
    ["pattern", STRING, { pattern: "[a-z]+" }, ["abc"], ["abc\n", "\nabc", "Abc", "abc1"]],
    ["pattern", STRING, { pattern: "(?i)abc" }, ["ABC", "abc"], ["ab"]],
    ["pattern", STRING, { pattern: "(?m)^a$" }, ["a"], ["a\nb", "a\n"]],
    ["pattern", STRING, { pattern: "\\p{Greek}+" }, ["αβγ"], ["abc"]],
    ["pattern", STRING, { pattern: "(a+)+b" }, ["aab"], [`${"a".repeat(200_000)}c`]],
    ["choices", CHOICE, { choices: ["a", "😀"] }, ["a", "😀"], ["", "b", "A"]],
  ];
  test.each(cases)(
    "%s of type %i: %j binds the whole value, and a refusal names it",
    async (name, type, constraints, yes, no) => {
      const workflowId = await newWorkflow(server.acme);
      for (const value of yes) {
        const variable = await set("v", value, { type, constraints }, workflowId);
        expect(plain(variable.value)).toEqual(value);
        expect(variable.constraints).toMatchObject(constraints);
      }
      for (const value of no) {
        const error = await refused(set("v", value, {}, workflowId), "InvalidArgument", "assignment.value");
        expect(error.message.replaceAll(/([a-z])([A-Z])/g, "$1_$2").toLowerCase()).toMatch(
          new RegExp(name.replace(/s$/, "").replace("_", "[ _]")),
        );
      }
      expect((await getVariable(server.acme, workflowId, "v")).version).toBe(BigInt(yes.length));
    },
  );

  test.each([["(a"], ["a(?=b)"], ["(a)\\1"], ["["], ["*"], ["a{2,1}"], ["\\"]])(
    "the pattern %j is no RE2 expression: INVALID_ARGUMENT at constraints.pattern",
    async (pattern) => {
      await refused(
        set("v", "a", { type: STRING, constraints: { pattern } }),
        "InvalidArgument",
        "assignment.constraints.pattern",
      );
    },
  );

  test("a pattern of 256 characters is taken, of 257 refused", async () => {
    await set("v", "a".repeat(256), { type: STRING, constraints: { pattern: "a".repeat(256) } });
    await set("v", "é".repeat(256), { type: STRING, constraints: { pattern: "é".repeat(256) } });
    await refused(
      set("v", "a".repeat(257), { type: STRING, constraints: { pattern: "a".repeat(257) } }),
      "InvalidArgument",
      "assignment.constraints.pattern",
    );
  });

  test("100 choices of 255 characters are taken; 101, or one of 256, are refused", async () => {
    const choices = repeat(100, (i) => `${i}`.padStart(255, "é"));
    await set("v", choices[99] ?? "", { type: CHOICE, constraints: { choices } });
    await refused(
      set("v", "x", { type: CHOICE, constraints: { choices: repeat(101, (i) => `${i}x`) } }),
      "InvalidArgument",
      "assignment.constraints.choices",
    );
    await refused(
      set("v", "a", { type: CHOICE, constraints: { choices: ["a", "x".repeat(256)] } }),
      "InvalidArgument",
      "assignment.constraints.choices[1]",
    );
  });

  test("a CHOICE without choices takes nothing", async () => {
    await refused(set("v", "a", { type: CHOICE }), "InvalidArgument", "choices");
    await refused(set("v", "a", { type: CHOICE, constraints: {} }), "InvalidArgument", "choices");
  });

  test("absent constraints keep the old ones; given ones replace them whole and bind the value at once", async () => {
    const workflowId = await newWorkflow(server.acme);
    await set("v", 5, { type: INTEGER, constraints: { min: 1, max: 9 } }, workflowId);
    const kept = await set("v", 6, {}, workflowId);
    expect(kept.constraints).toMatchObject({ min: 1, max: 9 });
    await refused(set("v", 6, { constraints: { max: 5 } }, workflowId), "InvalidArgument", "max");
    const replaced = await set("v", 0, { constraints: { max: 5 } }, workflowId);
    expect(replaced.constraints?.min).toBeUndefined();
    expect(replaced.constraints?.max).toBe(5);
    await set("v", 1000, { constraints: {} }, workflowId);
    await set("v", -1000, {}, workflowId);
  });

  test.each([{ min: NaN }, { max: Infinity }, { min: 2, max: 1 }, { minLength: 2, maxLength: 1 }])(
    "constraints %j that nothing can keep are INVALID_ARGUMENT or refuse the value, never INTERNAL",
    async (constraints) => {
      const type = "minLength" in constraints ? STRING : FLOAT;
      const call = set("v", type === STRING ? "a" : 1.5, { type, constraints });
      const answer = await call.then(
        () => "taken",
        (error: Error) => error.message,
      );
      expect(answer).toMatch(/^\[invalid_argument\]|^taken/);
    },
  );
});

describe("constraints that do not fit the type", () => {
  test.each([
    [BOOLEAN, { min: 0 }, true],
    [STRING, { min: 0 }, "a"],
    [INTEGER, { pattern: "1" }, 1],
    [ANY, { choices: ["a"] }, "a"],
  ] as [VariableType, object, JsonValue][])(
    "type %i with %j is refused",
    async (type, constraints, value) => {
      await refused(set("v", value, { type, constraints }), "InvalidArgument", "assignment.constraints");
    },
  );

  test("of JSON each rule holds for the values that it says something of", async () => {
    const workflowId = await newWorkflow(server.acme);
    const constraints = { min: 1, max: 3, minLength: 2, pattern: "[ab]+" };
    for (const value of [2, "ab", true, null, [9]]) await set("v", value, { constraints }, workflowId);
    for (const [value, rule] of [
      [0, "min"],
      [4, "max"],
      ["a", "min_length"],
      ["cc", "pattern"],
    ] as [JsonValue, string][]) {
      await refused(set("v", value, {}, workflowId), "InvalidArgument", rule);
    }
  });
});

describe("sizes", () => {
  test("a name of 255 characters is taken, also of 255 emoji; 256 and none are refused at assignment.name", async () => {
    for (const name of ["n".repeat(255), "é".repeat(255), "😀".repeat(255)]) {
      const workflowId = await newWorkflow(server.acme);
      await setVariable(server.acme, workflowId, name, 1);
      expect((await getVariable(server.acme, workflowId, name)).name).toBe(name);
      const { variables } = await server.acme.variables.listVariables({ workflowId });
      expect(variables.map((variable) => variable.name)).toEqual([name]);
    }
    for (const name of ["n".repeat(256), "😀".repeat(256), ""])
      await refused(set(name, 1), "InvalidArgument", "assignment.name");
  });

  test("a value of exactly 256 KiB as JSON is taken, one byte more is INVALID_ARGUMENT", async () => {
    const most = 256 * 1024 - 2;
    for (const value of ["x".repeat(most), "é".repeat(most / 2), `"${"x".repeat(most - 2)}`]) {
      expect(JSON.stringify(value).length).toBeLessThanOrEqual(256 * 1024);
      const variable = await set("v", value);
      expect(plain(variable.value)).toBe(value);
    }
    await refused(set("v", "x".repeat(most + 1)), "InvalidArgument", "assignment.value");
    await refused(set("v", `é${"x".repeat(most - 1)}`), "InvalidArgument", "assignment.value");
    await refused(set("v", `"${"x".repeat(most - 1)}`), "InvalidArgument", "assignment.value");
  });

  test("the size is that of compact JSON, also of lists and objects", async () => {
    const list = (bytes: number) => repeat((bytes - 1) / 2, () => 1);
    expect(JSON.stringify(list(262143)).length).toBe(262143);
    await set("v", list(262143));
    await refused(set("v", list(262145)), "InvalidArgument", "assignment.value");
    const object = { a: "x".repeat(262144 - '{"a":""}'.length) };
    await set("v", object);
    await refused(set("v", { a: `${object.a}x` }), "InvalidArgument", "assignment.value");
  });

  test("metadata of 16,000 bytes is taken, of 17,000 refused at assignment.metadata; merged metadata counts whole", async () => {
    const workflowId = await newWorkflow(server.acme);
    await set("v", 1, { metadata: { a: "x".repeat(16_000) } }, workflowId);
    await refused(
      set("w", 1, { metadata: { a: "x".repeat(17_000) } }, workflowId),
      "InvalidArgument",
      "assignment.metadata",
    );
    await refused(
      set("w", 1, { metadata: { a: "é".repeat(8200) } }, workflowId),
      "InvalidArgument",
      "assignment.metadata",
    );
    await refused(
      set("v", 2, { metadata: { b: "x".repeat(1000) } }, workflowId),
      "InvalidArgument",
      "assignment.metadata",
    );
    expect((await getVariable(server.acme, workflowId, "v")).version).toBe(1n);
    await set("v", 2, { metadata: { b: "x".repeat(1000) }, clearMetadata: true }, workflowId);
  });

  test("metadata of exactly 16 KiB of keys and values is taken, one byte more is refused", async () => {
    await set("v", 1, { metadata: { a: "x".repeat(16 * 1024 - 1) } });
    await refused(set("v", 1, { metadata: { a: "x".repeat(16 * 1024) } }), "InvalidArgument", "metadata");
  });

  test("a long source is taken or INVALID_ARGUMENT at source", async () => {
    const workflowId = await newWorkflow(server.acme);
    const source = "s".repeat(1_000_000);
    const call = server.acme.variables.setVariable({
      workflowId,
      assignment: { name: "v", value: text("x") },
      source,
    });
    const answer = await call.then(
      ({ variable }) => variable?.source === source,
      (error: Error) => error.message,
    );
    if (answer !== true) expect(answer).toMatch(/^\[invalid_argument\].*source/);
  });
});
