/** The hub beside what the tests of streams show: what it asks of the store when nobody reads. */
import { expect, test } from "vitest";
import { createMemoryBus } from "../../server/bus/memory-bus.ts";
import { Hub } from "../../server/core/hub.ts";
import type { EventStore } from "../../server/core/ports.ts";
import { Traffic } from "../../server/core/traffic.ts";
import { ManualClock } from "../support/manual-clock.ts";

test("a tail check that comes after the hub was closed asks nothing of the store, which is closed too", async () => {
  const clock = new ManualClock();
  const asked: (readonly string[])[] = [];
  const failures: string[] = [];
  const store = {
    async readTails(ids: readonly string[]) {
      asked.push(ids);
      return new Map(ids.map((id) => [id, { tailOffset: 1, floorOffset: 0 }]));
    },
  } as unknown as EventStore;
  const hub = new Hub({
    store,
    bus: createMemoryBus(),
    clock,
    traffic: new Traffic(),
    onFailure: (message) => failures.push(message),
  });
  await hub.acquire("stream", { tenant: "acme", rootWorkflowId: "stream", space: undefined });
  await clock.advance(1000);
  expect(asked).toEqual([["stream"], ["stream"]]);
  await hub.close();
  await clock.advance(5000);
  expect(asked).toHaveLength(2);
  expect(failures).toEqual([]);
});
