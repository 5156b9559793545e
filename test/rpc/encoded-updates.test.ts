/** The encoder by hand against the generated one. */
import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  VariableUpdateSchema,
  WatchVariablesResponseSchema,
} from "../../gen/tributary/v1/variable_service_pb.ts";
import type { VariableUpdate } from "../../server/core/variables/update.ts";
import type { Constraints, Variable } from "../../server/core/variables/variable.ts";
import { encodeUpdate, joinUpdates } from "../../server/rpc/encoded-updates.ts";
import { toUpdateMessage } from "../../server/rpc/variable-messages.ts";

const edges = [0, 1, 127, 128, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 35, Number.MAX_SAFE_INTEGER];
const count = fc.oneof(fc.constantFrom(...edges), fc.maxSafeNat());
const text = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 40 }),
  fc.constantFrom("", "é".repeat(64), "x".repeat(128), "🦊"),
);
/** As JSON.parse gives it. */
const json = fc.jsonValue({ maxDepth: 4 }).map((value) => JSON.parse(JSON.stringify(value)) as unknown);
const metadata = fc.dictionary(text, text, { maxKeys: 3 });
const constraints: fc.Arbitrary<Constraints> = fc.record(
  {
    min: fc.double({ noNaN: true }),
    max: fc.double({ noNaN: true }),
    minLength: fc.nat(),
    maxLength: fc.nat(),
    pattern: text,
    choices: fc.array(text, { maxLength: 3 }),
  },
  { requiredKeys: [] },
);
const variable: fc.Arbitrary<Variable> = fc.record({
  workflowId: fc.uuid(),
  name: text,
  type: fc.integer({ min: 0, max: 6 }),
  value: json,
  constraints: fc.oneof(fc.constant(undefined), constraints),
  metadata,
  version: count,
  source: text,
  offset: count,
  createdMs: count,
  updatedMs: count,
});
const update: fc.Arbitrary<VariableUpdate> = fc
  .record({
    kind: fc.constantFrom("initial" as const, "set" as const, "deleted" as const),
    about: variable,
    oldValue: fc.oneof(fc.constant(undefined), json),
    offset: count,
    replaced: fc.oneof(fc.constantFrom(0, 127, 128, 2 ** 31, 2 ** 32 - 1), fc.nat()),
    entryLength: fc.constantFrom(0, 100_000),
  })
  .map(({ about, oldValue, ...rest }) => ({
    ...rest,
    name: about.name,
    content: () => ({ variable: about, oldValue }),
  }));

test("an update is encoded as the generated schema does it, whatever is in it", () => {
  fc.assert(
    fc.property(update, (one) => {
      const expected = toBinary(VariableUpdateSchema, toUpdateMessage(one));
      expect(Buffer.from(encodeUpdate(one)).toString("hex")).toBe(Buffer.from(expected).toString("hex"));
    }),
    { numRuns: 500 },
  );
});

test("one that stands for others is encoded from the same without them", () => {
  fc.assert(
    fc.property(update, fc.integer({ min: 1, max: 2 ** 32 - 1 }), (one, replaced) => {
      const original = { ...one, replaced: 0 };
      const copy = { ...original, replaced, original };
      const expected = toBinary(VariableUpdateSchema, toUpdateMessage({ ...one, replaced }));
      expect(Buffer.from(encodeUpdate(copy)).toString("hex")).toBe(Buffer.from(expected).toString("hex"));
    }),
  );
});

test("a batch of updates is encoded as the generated schema does it", () => {
  fc.assert(
    fc.property(fc.array(update, { minLength: 1, maxLength: 20 }), (updates) => {
      const value = { updates: updates.map(toUpdateMessage) };
      const message = create(WatchVariablesResponseSchema, { message: { case: "updates", value } });
      const encoded = create(WatchVariablesResponseSchema);
      encoded.$unknown = joinUpdates(updates.map(encodeUpdate));
      const [found, expected] = [encoded, message].map((each) =>
        toBinary(WatchVariablesResponseSchema, each),
      );
      expect(Buffer.from(found ?? []).toString("hex")).toBe(Buffer.from(expected ?? []).toString("hex"));
    }),
  );
});
