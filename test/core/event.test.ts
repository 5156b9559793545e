/** Core knows no protobuf, so it has its own names for the numbers of the wire; they must be the same. */
import { expect, test } from "vitest";
import {
  EventType as ProtoEventType,
  WorkflowStatus as ProtoStatus,
} from "../../gen/tributary/v1/event_pb.ts";
import { EventType, WorkflowStatus } from "../../server/core/event.ts";

const named = (numbers: object) =>
  Object.fromEntries(
    Object.entries(numbers).filter(([name, number]) => name !== "UNSPECIFIED" && typeof number === "number"),
  );

test("event types and workflow states are those of the proto", () => {
  expect(named(EventType)).toEqual(named(ProtoEventType));
  expect(named(WorkflowStatus)).toEqual(named(ProtoStatus));
});
