/** A stream for programs: one JSON object an item, one an event. */
import type { FollowItem } from "../../client/index.ts";
import { EndedSchema, GapSchema, OpenedSchema } from "../../gen/tributary/v1/event_pb.ts";
import type { Output } from "./output.ts";
import { toPlain, toPlainEvent } from "./plain.ts";

export function showAsJson(output: Output, item: FollowItem): void {
  switch (item.kind) {
    case "opened":
      output.object({ kind: "opened", ...toPlain(OpenedSchema, item.opened) });
      break;
    case "events":
      for (const event of item.events) output.object({ kind: "event", ...toPlainEvent(event) });
      break;
    case "gap":
      output.object({ kind: "gap", ...toPlain(GapSchema, item.gap) });
      break;
    case "ended":
      output.object({ kind: "ended", ...toPlain(EndedSchema, item.ended) });
      break;
    default: // the connection's state is told on stderr
  }
}
