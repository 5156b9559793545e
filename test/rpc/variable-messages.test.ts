/** What is kept of an update as long as its entry is in a window: at most twice the entry, whatever the value. */

import { fromBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { VariableUpdateSchema } from "../../gen/tributary/v1/variable_service_pb.ts";
import { EventType, type StoredEvent } from "../../server/core/event.ts";
import { toUpdate } from "../../server/core/variables/update.ts";
import { encodeUpdate } from "../../server/rpc/encoded-updates.ts";
import { anEvent } from "../support/commands.ts";

const entry = (value: unknown): StoredEvent => ({
  ...anEvent({
    workflowId: "0198f3a2-6b1c-7d4e-8f90-a1b2c3d4e5f6",
    type: EventType.VARIABLE_SET,
    payload: JSON.stringify({
      name: "v",
      type: "JSON",
      value,
      metadata: {},
      version: 1,
      source: "",
      createdMs: 1,
    }),
  }),
  offset: 1,
  recordedMs: 1,
});

test("the bytes of an update are made once for all watchers", () => {
  const event = entry("a text of some length, which is not longer on the wire".repeat(10));
  expect(encodeUpdate(toUpdate(event))).toBe(encodeUpdate(toUpdate(event)));
});

test("those of a list of numbers, far larger than its entry, are not kept", () => {
  const event = entry(Array(10_000).fill(1));
  const bytes = encodeUpdate(toUpdate(event));
  expect(bytes.length).toBeGreaterThan(100_000);
  expect(encodeUpdate(toUpdate(event))).not.toBe(bytes);
  expect(fromBinary(VariableUpdateSchema, bytes).variable?.value?.kind.case).toBe("listValue");
});

test("an update keeps nothing of what it reads from its entry but the name", () => {
  const update = toUpdate(entry({ a: [1, 2, 3] }));
  const { variable } = update.content();
  expect(variable.value).toEqual({ a: [1, 2, 3] });
  expect(update.content().variable.value).not.toBe(variable.value);
  expect(update).toMatchObject({ name: "v", kind: "set" });
});
