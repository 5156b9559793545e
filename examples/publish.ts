/** Writes events of a task, one and many, so that a retry stores nothing twice. Run: `node examples/publish.ts` */
import {
  asConnectError,
  ConnectError,
  EventType,
  isRetryable,
  PublishTaskEventsProgressSchema,
  sleep,
  WorkflowStatus,
} from "tributary/client";
import { client } from "./connect.ts";

const { workflow } = await client.workflows.createWorkflow({ name: "publish" });
const workflowId = workflow?.workflowId ?? "";

// region one
const one = await client.tasks.streamTaskData({
  workflowExecutionId: workflowId,
  taskExecutionId: "writer",
  type: EventType.TOKEN,
  payload: "Once upon",
  producerId: "writer#1",
  sequence: 1n,
  waitForDurable: true, // answers after the commit; without it, when the event is queued
});
console.log("stored at offset", one.offset, "duplicate:", one.duplicate);
// endregion

// region many
const events = [" a", " time", "."].map((text, at) => ({
  workflowId,
  taskExecutionId: "writer",
  type: EventType.TOKEN,
  sequence: BigInt(at + 2), // the numbers of a producer rise within a workflow
  payload: { case: "text" as const, value: text },
}));
const publish = () => client.tasks.publishTaskEvents(inMessages(events));

/** At most 1,000 events and 3 MiB a message; a call may have any number of messages. */
async function* inMessages<T>(all: readonly T[]) {
  for (let at = 0; at < all.length; at += 1000) {
    yield { producerId: "writer#1", events: all.slice(at, at + 1000) };
  }
}
// endregion

// region retry
/** Repeats the whole call: what the producer has numbered is stored once, however often it is sent. */
async function withRetries<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await call();
    } catch (error) {
      if (attempt === 5 || !isRetryable(asConnectError(error))) throw error;
      await sleep(Math.random() * 200 * 2 ** attempt);
    }
  }
}

const first = await withRetries(publish);
console.log("accepted", first.accepted, "duplicates", first.duplicates, "last offset", first.lastOffset);
const again = await withRetries(publish);
console.log("accepted", again.accepted, "duplicates", again.duplicates);
// endregion

// region refused
// The terminal event closes the task: what comes after it is refused, and the details tell how far the call came.
const closing = [EventType.COMPLETED, EventType.TOKEN].map((type, at) => ({
  workflowId,
  taskExecutionId: "writer",
  type,
  sequence: BigInt(at + 5),
}));
try {
  await client.tasks.publishTaskEvents(inMessages(closing));
} catch (error) {
  if (!(error instanceof ConnectError)) throw error;
  const [progress] = error.findDetails(PublishTaskEventsProgressSchema);
  console.log("event", progress?.failedIndex, "was refused,", progress?.accepted, "before it stored");
  console.log(error.rawMessage);
}
// endregion

await client.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
