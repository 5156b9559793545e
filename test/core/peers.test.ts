/** Who is heard, who has left, and who is missed. */
import { expect, test } from "vitest";
import { createMemoryBus } from "../../server/bus/memory-bus.ts";
import { Peers } from "../../server/core/system/peers.ts";
import { ManualClock } from "../support/manual-clock.ts";

test("an instance that falls silent is told of once, by each other one; one that leaves is not", async () => {
  const clock = new ManualClock();
  const bus = createMemoryBus();
  const muted = new Set<string>();
  let degraded: string | undefined;
  const told: string[] = [];
  const open = async (instanceId: string) => {
    const peers = new Peers({
      clock,
      instanceId,
      bus: {
        onSignal: bus.onSignal,
        signal: (topic, body) => {
          if (!muted.has(instanceId)) bus.signal(topic, body);
        },
        degraded: () => degraded,
      },
      systemEvents: {
        warnHere: (component, message, { instance_id }) =>
          told.push(`${component} of ${instanceId}: ${instance_id}, ${message.includes("15 s")}`),
      },
    });
    await peers.open();
    return peers;
  };
  const [a, b, c] = [await open("a"), await open("b"), await open("c")];
  await clock.advance(5000);
  expect([a.count, b.count, c.count]).toEqual([2, 2, 2]);
  c.close();
  await clock.advance(60_000);
  expect(told).toEqual([]);
  expect([a.count, b.count]).toEqual([1, 1]);
  muted.add("b");
  await clock.advance(14_000);
  expect(told).toEqual([]);
  await clock.advance(60_000);
  expect(told).toEqual(["peers of a: b, true"]);
  muted.clear();
  await clock.advance(5000);
  expect([a.count, b.count]).toEqual([1, 1]);
  // Who is deaf misses nobody, and counts from when it hears again.
  degraded = "NATS is away";
  muted.add("a").add("b");
  await clock.advance(60_000);
  degraded = undefined;
  await clock.advance(5000);
  expect(told).toHaveLength(1);
  await clock.advance(20_000);
  expect(told).toHaveLength(3);
  a.close();
  b.close();
  expect(clock.timers).toBe(0);
});
