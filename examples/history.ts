/** Reads what was, page by page: everything in order, then the newest of some types. Run: `node examples/history.ts <workflow-id>` */
import { EventType, EventTypeSchema } from "tributary/client";
import { client } from "./connect.ts";

const workflowId = process.argv[2] ?? "";

// region forward
let cursor = 0n;
let more = true;
while (more) {
  const page = await client.streams.readEvents({ workflowId, consolidated: true, cursor, limit: 3 });
  // A page may be empty though there is more: `more` counts, not the number of events.
  for (const event of page.events)
    console.log(String(event.offset), EventTypeSchema.value[event.type]?.localName);
  cursor = page.nextCursor;
  more = page.more;
}
// endregion

// region newest
const newest = await client.streams.readEvents({
  workflowId,
  descending: true, // before the cursor; 0: from the tail
  limit: 1,
  types: [EventType.TOKEN, EventType.OUTPUT],
});
console.log("newest text:", newest.events[0]?.payload.value);
// endregion
