/** What one can do with a stream beside a loop over its items. Run: `node examples/read.ts <workflow-id>` */
import { createTributaryClient, EventType, EventTypeSchema, VariableUpdateType } from "tributary/client";
import { client } from "./connect.ts";

const [workflowId = ""] = process.argv.slice(2);

// region values
// Event by event; a gap would be thrown, unless `onGap` takes it.
for await (const event of client.followTree(workflowId, { types: [EventType.TOKEN] }).values()) {
  console.log(String(event.offset), event.payload.value);
}
// endregion

// region collect
// As many as there are until the bound, the end or the signal. Never throws: what came before an error is kept.
const tree = client.followTree(workflowId);
const { values, outcome } = await tree.collect({ limit: 2, signal: AbortSignal.timeout(5000) });
console.log(outcome, values.length, "up to", tree.position);
// The rest stays to be read.
await tree.forEach(({ type }) => {
  console.log("then", EventTypeSchema.value[type]?.localName);
});
console.log(tree.state);
// endregion

// region variables
await client.watchVariables(workflowId).forEach(({ updateType, variable, oldValue }) => {
  const isNew = updateType === VariableUpdateType.INITIAL_VALUE ? "is" : "became";
  console.log(variable?.name, isNew, variable?.value?.kind.value, "was", oldValue?.kind.value);
});
// endregion

// region recall
const session = client.openObservations(); // into the space "default"
const { settled } = await session.write({ content: `an otter at ${workflowId}` });
await settled; // stored, and searchable
await session.close();
const cue = { case: "text", value: `otter ${workflowId}` } as const;
for await (const { observation, score } of client.recall({ cue }).values()) {
  console.log(observation?.content === `an otter at ${workflowId}`, score);
}
// endregion

// region resilience
const careful = createTributaryClient({
  baseUrl: process.env["TRIBUTARY_URL"] ?? "http://127.0.0.1:8080",
  credential: () => process.env["TRIBUTARY_API_KEY"] ?? "", // asked before each call
  resilience: {
    timeoutMs: 5000, // of each attempt of a call
    attempts: 6,
    backoff: { firstMs: 100, longestMs: 2000 },
    breaker: { failures: 10, halfOpenAfterMs: 1000 },
    streamAttempts: 50, // in a row; the default is to go on for ever
    onEvent: (event) => console.log("heard:", event.kind, "class" in event ? event.class : event.state),
  },
});
// Tried again if that may help and cannot do anything twice. This one cannot be helped.
await careful.workflows.getWorkflow({ workflowId: "nonsense" }).catch(({ message }) => console.log(message));
careful.close();
// endregion
