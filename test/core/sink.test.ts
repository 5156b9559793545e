/** Events that go past the layers of a call: the same events, in the same order, whatever way each of them takes. */
import { describe, expect, test } from "vitest";
import type { SentEvent } from "../../server/core/batch.ts";
import { EventType } from "../../server/core/event.ts";
import type { Sink } from "../../server/core/sink.ts";
import { Collected, FakeCall, FakeStream } from "../support/fake-stream.ts";
import { settled } from "../support/manual-clock.ts";
import { Random, seeds } from "../support/random.ts";

const { TOKEN, DATA, WORKFLOW_COMPLETED } = EventType;
const token = { type: TOKEN };

/** A transport with room for so many messages. */
class FakeSink implements Sink {
  readonly batches: number[][] = [];
  onRoom = () => {};
  closed = 0;
  room = Number.POSITIVE_INFINITY;

  write(events: readonly SentEvent[]): boolean {
    if (this.room <= 0) throw new Error("written to though it is full");
    this.batches.push(events.map(({ offset }) => offset));
    this.room--;
    return this.room > 0;
  }

  makeRoom(messages: number): void {
    this.room = messages;
    this.onRoom();
  }

  close(): void {
    this.closed++;
  }
}

async function waiting(stream: FakeStream, more: Parameters<FakeStream["follow"]>[0] = {}) {
  const sink = new FakeSink();
  const call = new FakeCall();
  const abort = new AbortController();
  const reader = new Collected(stream.follow(more, { sink, call, signal: abort.signal }));
  reader.done.catch(() => {}); // of an abort
  await settled();
  return { sink, call, abort, reader };
}

describe("a reader that waits", () => {
  test("is given events in the step that brings them, and its last message as always", async () => {
    const stream = new FakeStream();
    const { sink, reader } = await waiting(stream);
    stream.append(token, token);
    expect(sink.batches).toEqual([[1, 2]]); // nothing was awaited
    stream.append(token).append({ type: WORKFLOW_COMPLETED });
    expect(sink.batches).toEqual([[1, 2], [3], [4]]);
    await reader.done;
    expect(reader.kinds).toEqual(["opened", "ended"]);
    expect(sink.closed).toBeGreaterThan(0);
  });

  test("is written to live, which history makes room for; what it came too late for is not", async () => {
    const stream = new FakeStream().append(...Array.from({ length: 20 }, () => token));
    const { sink, reader } = await waiting(stream, { start: 15 });
    await waiting(stream);
    expect(stream.liveWrites).toBe(0); // one had it from the window, one from the store
    stream.append(token, token);
    expect(stream.liveWrites).toBe(2);
    sink.makeRoom(1);
    stream.append(token);
    expect(stream.liveWrites).toBe(4);
    expect(sink.batches).toEqual([[21, 22], [23]]);
    for (let i = 0; i < 10; i++) stream.append(token);
    expect(stream.liveWrites).toBe(14);
    sink.makeRoom(10);
    await settled();
    expect(reader.batches.flat().slice(-10)).toEqual([24, 25, 26, 27, 28, 29, 30, 31, 32, 33]);
    expect(stream.liveWrites).toBe(14); // it fell behind, and has become a reader of history
  });

  test("keeps its filter, counts what it sent, and is kept alive between", async () => {
    const stream = new FakeStream();
    const { sink, reader } = await waiting(stream, {
      filter: { types: [DATA], tasks: undefined },
      heartbeatIntervalMs: 1000,
    });
    stream.append(token, { type: DATA }, token);
    expect(sink.batches).toEqual([[2]]);
    expect(stream.live.traffic.delivered).toBe(1);
    await stream.clock.advance(999);
    expect(reader.kinds).toEqual(["opened"]);
    await stream.clock.advance(1);
    expect(reader.messages.at(-1)).toEqual({ kind: "heartbeat", offset: 3 });
  });

  test("is told in words that its call is closed, and gets nothing after it left", async () => {
    const stream = new FakeStream();
    const closed = await waiting(stream);
    const gone = await waiting(stream);
    closed.call.close({ reason: "draining", reconnectAfterMs: 5 });
    gone.abort.abort();
    stream.append(token);
    await settled();
    expect([closed.sink.batches, gone.sink.batches]).toEqual([[], []]);
    await closed.reader.done;
    expect(closed.reader.kinds).toEqual(["opened", "closing"]);
    expect(stream.users).toBe(0);
  });
});

describe("a reader whose transport is full", () => {
  test("is given nothing until there is room, then all that came, from the window", async () => {
    const stream = new FakeStream();
    const { sink } = await waiting(stream);
    sink.room = 1;
    stream.append(token).append(token).append(token);
    expect(sink.batches).toEqual([[1]]);
    sink.makeRoom(9);
    expect(sink.batches).toEqual([[1], [2, 3]]);
  });

  test("reads from the store what left the window meanwhile", async () => {
    const stream = new FakeStream({ entries: 4, bytes: 1_000_000 });
    const { sink, reader } = await waiting(stream);
    sink.room = 1;
    for (let i = 0; i < 20; i++) stream.append(token);
    sink.makeRoom(9);
    await settled();
    const rest = reader.batches.flat();
    expect([...sink.batches.flat(), ...rest]).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    expect(rest.length).toBeGreaterThan(0);
    stream.append(token);
    expect(sink.batches.at(-1)).toEqual([21]);
  });
});

test("an interval between messages is kept: then nothing goes past the call", async () => {
  const stream = new FakeStream();
  const { sink, reader } = await waiting(stream, { minIntervalMs: 500 });
  stream.append(token);
  await settled();
  expect([sink.batches, reader.batches]).toEqual([[], [[1]]]);
});

test.each(seeds(5))("whatever happens, each event once and in order (seed %i)", async (seed) => {
  const random = new Random(seed);
  const stream = new FakeStream({ entries: 6, bytes: 1_000_000 });
  const sink = new FakeSink();
  const seen: number[] = [];
  const reader = (async () => {
    for await (const message of stream.follow({}, { sink })) {
      if (message.kind === "events") seen.push(...message.events.map(({ offset }) => offset));
      if (random.chance(0.2)) await settled(); // a transport that takes its time
    }
  })();
  sink.write = (events) => {
    seen.push(...events.map(({ offset }) => offset));
    sink.room--;
    return sink.room > 0;
  };
  for (let step = 0; step < 200; step++) {
    if (random.chance(0.6)) stream.append(...Array.from({ length: 1 + random.below(3) }, () => token));
    if (random.chance(0.3)) sink.makeRoom(1 + random.below(4));
    if (random.chance(0.1)) sink.room = 1;
    if (random.chance(0.4)) await settled();
  }
  stream.append({ type: WORKFLOW_COMPLETED });
  sink.makeRoom(1000);
  await reader;
  expect(seen).toEqual(stream.events.map(({ offset }) => offset));
});
