/** Core knows no protobuf: its own numbers of session.proto must be the same. */
import { expect, test } from "vitest";
import * as proto from "../../gen/tributary/v1/session_pb.ts";
import { ClosedReason, FlowAction, SessionState } from "../../server/core/session/messages.ts";
import { RejectionCode } from "../../server/core/session/rejection.ts";

const named = (numbers: object) =>
  Object.fromEntries(
    Object.entries(numbers).filter(([name, number]) => name !== "UNSPECIFIED" && typeof number === "number"),
  );

test.each([
  ["session states", SessionState, proto.SessionState],
  ["reasons of an end", ClosedReason, proto.SessionClosedReason],
  ["flow actions", FlowAction, proto.FlowAction],
  ["rejection codes", RejectionCode, proto.RejectionCode],
])("%s are those of the proto", (_, own, ofProto) => {
  expect(named(own)).toEqual(named(ofProto));
});
