/** A machine whose wall clock is set while the service runs: acknowledgements, heartbeats and readers go on. */
import { expect, onTestFinished, test } from "vitest";
import { begin } from "../api/session-world.ts";
import { useServer } from "../support/server.ts";
import { until } from "../support/until.ts";

const server = useServer();
const tenMinutesMs = 600_000;

test.each([
  ["back", -tenMinutesMs],
  ["forward", tenMinutesMs],
])("a clock that is set %s by ten minutes delays no ack and no heartbeat", async (_, shiftMs) => {
  const { workflowId, call } = await begin(server.acme);
  call.batch(1, ["before"]);
  await call.durable(1);
  const cases: string[] = [];
  const abort = new AbortController();
  const reading = (async () => {
    const options = { heartbeatIntervalMs: 1000 };
    for await (const { message } of server.acme.streams.streamWorkflow(
      { workflowId, options },
      { signal: abort.signal },
    ))
      cases.push(message?.message.case ?? "");
  })().catch(() => {}); // aborted below
  await until(() => expect(cases).toEqual(["opened", "events"]));

  const now = Date.now;
  Date.now = () => now() + shiftMs;
  onTestFinished(() => {
    Date.now = now;
  });
  call.batch(2, ["after"]);
  await call.durable(2);
  await until(() => expect(cases.slice(2)).toEqual(["events", "heartbeat", "heartbeat"]), 5000);
  expect(call.all("closed")).toEqual([]);
  abort.abort();
  await reading;
  call.cut();
});
