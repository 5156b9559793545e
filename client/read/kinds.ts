/** The kinds of subscriptions: where their items keep their values. */
import type { Event } from "../../gen/tributary/v1/event_pb.ts";
import type { RecalledObservation } from "../../gen/tributary/v1/memory_service_pb.ts";
import { type VariableUpdate, VariableUpdateType } from "../../gen/tributary/v1/variable_service_pb.ts";
import { utf8Length } from "../utf8.ts";
import type { FollowItem } from "./follow.ts";
import type { RecallItem } from "./recall.ts";
import type { Kind } from "./subscription.ts";
import type { WatchItem } from "./watch-variables.ts";

export const events: Kind<FollowItem, Event> = {
  unpack: (item) => (item.kind === "events" ? item.events : undefined),
  pack: (_, rest) => ({ kind: "events", events: rest }),
  gapOf: (item) => (item.kind === "gap" ? item.gap : undefined),
  offsetAfter: (_, { offset }) => offset,
  sizeOf: ({ payload }) => {
    if (payload.value === undefined) return 0;
    return typeof payload.value === "string" ? utf8Length(payload.value) : payload.value.byteLength;
  },
};

export const updates: Kind<WatchItem, VariableUpdate> = {
  unpack: (item) => (item.kind === "updates" ? item.updates : undefined),
  pack: (_, rest) => ({ kind: "updates", updates: rest }),
  gapOf: (item) => (item.kind === "gap" ? item.gap : undefined),
  // Inside a snapshot there is no place to go on from.
  offsetAfter: (_, { updateType, offset }) =>
    updateType === VariableUpdateType.INITIAL_VALUE ? undefined : offset,
  // A value has at most 256 KiB; what most have is guessed.
  sizeOf: ({ variable }) =>
    100 + (variable?.value?.kind.case === "stringValue" ? variable.value.kind.value.length : 100),
};

export const results: Kind<RecallItem, RecalledObservation> = {
  unpack: (item) => (item.kind === "results" ? item.results : undefined),
  pack: (item, rest) => ({
    kind: "results",
    results: rest,
    snapshot: item.kind === "results" && item.snapshot,
  }),
  gapOf: (item) => (item.kind === "gap" ? item.gap : undefined),
  offsetAfter: (item, { observation }) =>
    item.kind === "results" && item.snapshot ? undefined : observation?.offset,
  sizeOf: ({ observation }) => utf8Length(observation?.content ?? ""),
};
