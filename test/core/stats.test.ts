/** Where readers of a part of a stream stand, and what that makes of the stream; on a stream in memory. */
import { describe, expect, test } from "vitest";
import { EventType, type NewEvent } from "../../server/core/event.ts";
import type { FollowRequest } from "../../server/core/follow.ts";
import { SharedGate } from "../../server/core/gate.ts";
import { LaneUsage } from "../../server/core/lane-usage.ts";
import { readStats, type StatsDeps, type StreamStats } from "../../server/core/system/stats.ts";
import { Traffic } from "../../server/core/traffic.ts";
import { Turns } from "../../server/core/turns.ts";
import { Collected, FakeStream, workflowId } from "../support/fake-stream.ts";
import { settled } from "../support/manual-clock.ts";

const child = "0198f3a2-6b1c-7d4e-8f90-0000000000c1";
const scope = { kind: "workflow", workflowId: child } as const;
const others = (count: number) => Array.from({ length: count }, (): Partial<NewEvent> => ({ workflowId }));
const own = (count: number) => others(count).map(() => ({ workflowId: child }));

function statsOf(stream: FakeStream, change: Partial<StatsDeps> = {}): StreamStats | undefined {
  const deps: StatsDeps = {
    instanceId: "here",
    clock: stream.clock,
    startedMs: 0,
    health: { status: "healthy" },
    hub: { live: () => [stream.live].values() as Generator<typeof stream.live>, isChecked: () => true },
    sessions: { attached: () => 0 },
    lanes: new LaneUsage(),
    traffic: new Traffic(),
    ...change,
  };
  const { streams, totalStreams, healthyStreams } = readStats(deps, undefined, 10);
  expect([totalStreams, healthyStreams]).toEqual([streams.length, streams.filter((s) => s.isHealthy).length]);
  return streams[0];
}

/** A reader that has credit for so many events. */
function reader(stream: FakeStream, credit: number, request: Partial<FollowRequest> = {}) {
  const gate = new SharedGate({ window: new Turns(1), store: new Turns(1) }, credit);
  return { gate, read: new Collected(stream.follow(request, { gate })) };
}

describe("the lag of a reader", () => {
  test("is 0 for one that nothing is for, however much comes for others and leaves the window", async () => {
    const stream = new FakeStream();
    reader(stream, 100, { scope });
    await settled();
    stream.append(...others(500));
    await settled();
    expect(statsOf(stream)).toMatchObject({ tailOffset: 500, slowestReaderLag: 0, readers: 1 });
    stream.live.floor = 490;
    expect(statsOf(stream)?.isHealthy).toBe(true);
  });

  test("is counted from before the next entry that is for it", async () => {
    const stream = new FakeStream();
    reader(stream, 0, { scope });
    await settled();
    stream.append(...others(3), ...own(1), ...others(3));
    await settled();
    expect(statsOf(stream)).toMatchObject({ slowestReaderLag: 4, delivered: 0, lastEventMs: 1 });
    stream.append(...others(4));
    await settled();
    expect(statsOf(stream)?.slowestReaderLag).toBe(8);
  });

  test("does not shrink when what it needs leaves the window, and is of the slowest", async () => {
    const stream = new FakeStream();
    reader(stream, 0, { scope });
    const { gate } = reader(stream, 30);
    await settled();
    for (let i = 0; i < 50; i++) {
      stream.append(...own(4));
      await settled();
    }
    expect(statsOf(stream)).toMatchObject({
      readers: 2,
      tailOffset: 200,
      slowestReaderLag: 200,
      delivered: 30,
    });
    gate.grant(1000);
    await settled();
    expect(statsOf(stream)).toMatchObject({ slowestReaderLag: 200, delivered: 200 });
  });

  test("counts what is known to exist though it has not come here", async () => {
    const stream = new FakeStream();
    reader(stream, 100);
    await settled();
    stream.append(...others(5));
    await settled();
    stream.live.close();
    stream.live.noteTail(12);
    expect(statsOf(stream)).toMatchObject({ tailOffset: 12, slowestReaderLag: 7 });
  });
});

test("a stream is healthy if it was checked in time, and no reader needs what retention has removed", async () => {
  const stream = new FakeStream();
  reader(stream, 2);
  await settled();
  stream.append(...others(5));
  await settled();
  stream.live.floor = 4;
  // The window still has it.
  expect(statsOf(stream)?.isHealthy).toBe(true);
  stream.append(...others(10));
  await settled();
  expect(statsOf(stream)?.isHealthy).toBe(false);
  stream.live.floor = 2;
  expect(statsOf(stream)?.isHealthy).toBe(true);
  const hub = { live: () => [stream.live].values() as Generator<typeof stream.live>, isChecked: () => false };
  expect(statsOf(stream, { hub })?.isHealthy).toBe(false);
});

test("a stream without readers is not told of", async () => {
  const stream = new FakeStream();
  expect(statsOf(stream)).toBeUndefined();
  const { read } = reader(stream, 100);
  await settled();
  expect(statsOf(stream)?.readers).toBe(1);
  stream.append({ type: EventType.WORKFLOW_COMPLETED, taskExecutionId: "" });
  await read.done;
  expect(statsOf(stream)).toBeUndefined();
});
