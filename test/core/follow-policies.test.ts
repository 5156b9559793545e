/** What holds a reader back (an interval, credit, its turn) and what shortens what it gets, on a stream in memory. */
import { describe, expect, test } from "vitest";
import { type SentEvent, toTest } from "../../server/core/batch.ts";
import { EventType, type NewEvent, type StoredEvent } from "../../server/core/event.ts";
import type { FollowRequest } from "../../server/core/follow.ts";
import { SharedGate } from "../../server/core/gate.ts";
import { Turns } from "../../server/core/turns.ts";
import { Collected, FakeCall, FakeStream } from "../support/fake-stream.ts";
import { settled } from "../support/manual-clock.ts";
import { Random, seeds } from "../support/random.ts";

const { TOKEN, PROGRESS, DATA, OUTPUT, COMPLETED, VARIABLE_SET, VARIABLE_DELETED, WORKFLOW_COMPLETED } =
  EventType;

const tokens = (count: number): Partial<NewEvent>[] => Array.from({ length: count }, () => ({ type: TOKEN }));
const of = (type: number, count = 1): Partial<NewEvent>[] => Array.from({ length: count }, () => ({ type }));
const turns = (permits = 4) => ({ window: new Turns(permits), store: new Turns(permits) });
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe("with a minimum interval", () => {
  const minIntervalMs = 1000;

  test("the first is sent at once, and what came meanwhile in one message when the interval is over", async () => {
    const stream = new FakeStream();
    const reader = new Collected(stream.follow({ minIntervalMs }));
    await settled();
    stream.append(...tokens(2));
    await settled();
    expect(reader.batches).toEqual([[1, 2]]);
    for (let i = 0; i < 3; i++) stream.append(...tokens(1));
    await stream.clock.advance(999);
    expect(reader.batches).toEqual([[1, 2]]);
    await stream.clock.advance(1);
    expect(reader.batches).toEqual([
      [1, 2],
      [3, 4, 5],
    ]);
  });

  test("a terminal event flushes all before it, unless the reader's filter leaves it out", async () => {
    const stream = new FakeStream();
    const [all, filtered] = [{}, { filter: { types: [TOKEN], tasks: undefined } }].map(
      (request) => new Collected(stream.follow({ ...request, minIntervalMs })),
    ) as [Collected, Collected];
    await settled();
    stream.append(...tokens(1));
    await settled();
    stream.append(...tokens(1));
    await settled();
    expect(all.batches).toEqual([[1]]);
    stream.append({ type: COMPLETED });
    await settled();
    expect(all.batches).toEqual([[1], [2, 3]]);
    expect(filtered.batches).toEqual([[1]]);
    await stream.clock.advance(1000);
    expect(filtered.batches).toEqual([[1], [2]]);
    stream.append({ type: WORKFLOW_COMPLETED, taskExecutionId: "" });
    await settled();
    expect([all.kinds.at(-1), filtered.kinds.at(-1)]).toEqual(["ended", "ended"]);
  });

  test("one that falls out of the window meanwhile waits too, then gets everything", async () => {
    const stream = new FakeStream({ entries: 8, bytes: 1e6 });
    const reader = new Collected(stream.follow({ minIntervalMs }));
    await settled();
    stream.append(...tokens(1));
    await settled();
    for (let i = 0; i < 500; i++) {
      stream.append(...tokens(5));
      await settled();
    }
    expect(reader.batches).toEqual([[1]]);
    await stream.clock.advance(1000);
    expect(reader.batches).toEqual([[1], range(2, 1001), range(1002, 2001), range(2002, 2501)]);
  });

  test("history comes without pauses", async () => {
    const stream = new FakeStream({ entries: 8, bytes: 1e6 }).append(...tokens(3500));
    const reader = new Collected(stream.follow({ minIntervalMs }));
    await settled();
    expect(reader.batches.flat().length).toBeGreaterThan(3400);
    await stream.clock.advance(1000);
    expect(reader.batches.flat()).toEqual(range(1, 3500));
  });

  test("a heartbeat never passes what is held back", async () => {
    const stream = new FakeStream();
    const reader = new Collected(stream.follow({ minIntervalMs: 14_000, heartbeatIntervalMs: 15_000 }));
    await settled();
    stream.append(...tokens(2));
    await stream.clock.advance(13_000);
    stream.append(...tokens(2));
    await stream.clock.advance(60_000);
    const positions = reader.messages.flatMap((message) =>
      message.kind === "heartbeat" ? [message.offset] : [],
    );
    expect(reader.batches).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(positions).toEqual([4, 4, 4]);
  });
});

describe("conflated", () => {
  const conflateTypes = [PROGRESS];

  test("what waited for the interval is one message of the newest", async () => {
    const stream = new FakeStream({ entries: 100, bytes: 1e6 });
    const reader = new Collected(stream.follow({ conflateTypes, minIntervalMs: 1000 }));
    await settled();
    stream.append(...of(PROGRESS));
    await settled();
    for (let i = 0; i < 20; i++) stream.append(...of(PROGRESS), ...of(TOKEN));
    await stream.clock.advance(1000);
    expect(reader.batches).toEqual([
      [1],
      [...range(2, 41).filter((offset) => offset % 2 === 1), 40].toSorted((a, b) => a - b),
    ]);
    expect(eventsOf(reader).at(-2)).toMatchObject({ offset: 40, replaced: 19 });
  });

  test("an interval is kept by one that falls out of the window, which gets one message of the newest", async () => {
    const stream = new FakeStream({ entries: 8, bytes: 1e6 });
    const reader = new Collected(stream.follow({ conflateTypes, minIntervalMs: 1000 }));
    await settled();
    for (let second = 0; second < 3; second++) {
      for (let i = 0; i < 600; i++) {
        stream.append(...of(PROGRESS, 5));
        await settled();
      }
      await stream.clock.advance(1000);
    }
    expect(reader.batches).toEqual([[5], [3000], [6000], [9000]]);
    expect(eventsOf(reader).map(({ replaced }) => replaced)).toEqual([4, 2994, 2999, 2999]);
  });

  test("a slow reader that takes a message now and then gets the newest, not all", async () => {
    const stream = new FakeStream({ entries: 100, bytes: 1e6 });
    const reader = stream.follow({ conflateTypes });
    await reader.next();
    for (let round = 1; round <= 3; round++) {
      stream.append(...of(PROGRESS, 50));
      expect((await reader.next()).value).toMatchObject({
        kind: "events",
        events: [{ offset: round * 50, replaced: 49 }],
      });
    }
    await reader.return(undefined);
  });

  test("what a reader is not concerned with stands for nothing, in the window and in history", async () => {
    const stream = new FakeStream({ entries: 8, bytes: 1e6 });
    const matches = ({ payload }: StoredEvent) => payload === "mine";
    const two = () => [
      { type: PROGRESS, payload: "mine" },
      { type: PROGRESS, payload: "other" },
    ];
    for (let i = 0; i < 50; i++) stream.append(...two());
    const reader = new Collected(stream.follow({ conflateTypes, matches }));
    await settled();
    await settled();
    stream.append(...two(), ...two());
    await settled();
    expect(reader.batches).toEqual([[99], [103]]);
    expect(eventsOf(reader).map(({ replaced }) => replaced)).toEqual([49, 1]);
  });

  test("history comes in messages of many pages each", async () => {
    const stream = new FakeStream({ entries: 8, bytes: 1e6 }).append(...of(PROGRESS, 20_000));
    const reader = new Collected(stream.follow({ conflateTypes }));
    await settled();
    await settled();
    expect(reader.batches).toEqual([[16_000], [20_000]]);
  });
});

describe("behind a gate", () => {
  test("only as many events are sent as were granted, and a message waits for no more of them", async () => {
    const stream = new FakeStream({ entries: 100, bytes: 1e6 }).append(...tokens(10));
    const gate = new SharedGate(turns(), 3);
    const reader = new Collected(stream.follow({}, { gate }));
    await settled();
    expect(reader.batches).toEqual([[1, 2, 3]]);
    gate.grant(0);
    await settled();
    gate.grant(4);
    await settled();
    expect(reader.batches).toEqual([
      [1, 2, 3],
      [4, 5, 6, 7],
    ]);
    gate.grant(1000);
    await settled();
    expect(reader.batches.flat()).toEqual(range(1, 10));
  });

  test("without a grant it is not limited; from the first one on it is", async () => {
    const stream = new FakeStream({ entries: 100, bytes: 1e6 }).append(...tokens(10));
    const gate = new SharedGate(turns(), undefined);
    const reader = new Collected(stream.follow({}, { gate }));
    await settled();
    gate.grant(2);
    stream.append(...tokens(10));
    await settled();
    expect(reader.batches.flat()).toEqual(range(1, 12));
  });

  test("from the store, too, and it reads no page of what it may not send", async () => {
    const stream = new FakeStream({ entries: 8, bytes: 1e6 }).append(...tokens(100));
    const gate = new SharedGate(turns(), 0);
    const reader = new Collected(stream.follow({}, { gate }));
    for (let i = 0; i < 10; i++) await settled();
    expect([reader.kinds, stream.pages]).toEqual([["opened"], 1]);
    gate.grant(5);
    for (let i = 0; i < 10; i++) await settled();
    expect(reader.batches).toEqual([range(1, 5)]);
    expect(stream.pages).toBe(3);
  });

  test.each([
    ["window", 100],
    ["store", 4],
  ])(
    "the end comes with the last event that there is for it, from the %s: what the filter leaves out needs no credit",
    async (_, entries) => {
      const stream = new FakeStream({ entries, bytes: 1e6 }).append(...tokens(3), ...of(DATA, 20));
      const gate = new SharedGate(turns(), 2);
      const filter = { types: [TOKEN], tasks: undefined };
      const reader = new Collected(stream.follow({ filter }, { gate }));
      await settled();
      stream.append({ type: WORKFLOW_COMPLETED, taskExecutionId: "" });
      for (let i = 0; i < 5; i++) await settled();
      expect([reader.batches, reader.kinds.at(-1)]).toEqual([[[1, 2]], "events"]);
      gate.grant(1);
      for (let i = 0; i < 5; i++) await settled();
      expect([reader.batches, reader.kinds.at(-1)]).toEqual([[[1, 2], [3]], "ended"]);
    },
  );

  test("heartbeats without credit stay before what is held back, and pass what the filter leaves out", async () => {
    const stream = new FakeStream({ entries: 100, bytes: 1e6 }).append(...of(DATA, 5), ...tokens(1));
    const gate = new SharedGate(turns(), 0);
    const filter = { types: [TOKEN], tasks: undefined };
    const reader = new Collected(stream.follow({ filter }, { gate }));
    await stream.clock.advance(16_000);
    stream.append(...of(DATA, 5));
    await stream.clock.advance(15_000);
    expect(reader.messages.slice(1)).toEqual([
      { kind: "heartbeat", offset: 5 },
      { kind: "heartbeat", offset: 5 },
    ]);
    expect(stream.clock.timers).toBeLessThanOrEqual(1);
  });

  test("who waits for credit is not idle; who has everything is", async () => {
    const stream = new FakeStream().append(...tokens(1));
    const gate = new SharedGate(turns(), 0);
    const reader = new Collected(stream.follow({ idleTimeoutMs: 20_000 }, { gate }));
    await stream.clock.advance(60_000);
    expect(reader.kinds).toEqual(["opened", "heartbeat", "heartbeat", "heartbeat", "heartbeat"]);
    gate.grant(1);
    await stream.clock.advance(30_000);
    expect(reader.kinds.slice(5)).toEqual(["events", "heartbeat", "closing"]);
  });

  test("who waits for its turn gets heartbeats, hears of the end of the call, and gives up its place", async () => {
    const stream = new FakeStream().append(...tokens(1));
    const shared = turns(1);
    const taken = shared.window.ask(() => {});
    const call = new FakeCall();
    const reader = new Collected(stream.follow({}, { gate: new SharedGate(shared, undefined), call }));
    await stream.clock.advance(16_000);
    expect(reader.messages.slice(1)).toEqual([{ kind: "heartbeat", offset: 0 }]);
    call.close({ reason: "draining", reconnectAfterMs: 1 });
    await reader.done;
    expect(reader.kinds.at(-1)).toBe("closing");
    taken.release();
    expect(shared.window.ask(() => {}).held).toBe(true);
  });

  test("readers hold no more messages than there are turns, and a turn is over when its message is taken", async () => {
    const stream = new FakeStream({ entries: 100, bytes: 1e6 });
    const shared = turns(2);
    const readers = Array.from({ length: 5 }, () =>
      stream.follow({}, { gate: new SharedGate(shared, undefined) }),
    );
    for (const reader of readers) await reader.next();
    stream.append(...tokens(1));
    const order: number[] = [];
    const next = readers.map((reader, i) => reader.next().then(() => order.push(i)));
    await settled();
    expect(order).toEqual([0, 1]);
    void readers[1]?.next();
    await settled();
    expect(order).toEqual([0, 1, 2]);
    await readers[0]?.return(undefined);
    await settled();
    expect(order).toEqual([0, 1, 2, 3]);
    void readers[2]?.next();
    await Promise.all(next);
  });
});

/** What a message should hold, said as simply as possible: each event that no newer one of its kind in it replaces. */
function expected(events: readonly StoredEvent[], types: readonly number[]): SentEvent[] {
  const kind = (event: StoredEvent) => {
    if (!types.includes(event.type)) return undefined;
    const isVariable = event.type === VARIABLE_SET || event.type === VARIABLE_DELETED;
    const { name } = isVariable ? JSON.parse(String(event.payload)) : { name: "" };
    return JSON.stringify([event.workflowId, isVariable ? name : [event.taskExecutionId, event.type]]);
  };
  return events.flatMap((event, i) => {
    const mine = kind(event);
    if (mine === undefined) return [event];
    if (events.slice(i + 1).some((later) => kind(later) === mine)) return [];
    const replaced = events.slice(0, i).filter((earlier) => kind(earlier) === mine).length;
    return [replaced === 0 ? event : { ...event, replaced }];
  });
}

const eventsOf = ({ messages }: Collected): SentEvent[] =>
  messages.flatMap((message) => (message.kind === "events" ? message.events : []));

describe.each(seeds(20))("with seed %i", (seed) => {
  test(`whatever is written and however it is read, each message is its range without what it replaced (repeat it with TRIBUTARY_SEED=${seed})`, async () => {
    const random = new Random(seed);
    const stream = new FakeStream({ entries: 1 + random.below(60), bytes: 1e6 });
    const conflatable = [PROGRESS, DATA, OUTPUT, VARIABLE_SET, VARIABLE_DELETED];
    const conflateTypes = conflatable.filter(() => random.chance(0.7));
    const types = random.chance(0.3) ? [random.pick(conflatable), random.pick(conflatable)] : undefined;
    const request: Partial<FollowRequest> = {
      conflateTypes,
      filter: { types, tasks: undefined },
      minIntervalMs: random.chance(0.5) ? 1 + random.below(2000) : 0,
    };
    const passes = toTest({ types, tasks: undefined }) ?? (() => true);
    const write = (): Partial<NewEvent>[] =>
      Array.from({ length: random.below(40) }, () => {
        const type = random.pick([...conflatable, TOKEN, COMPLETED]);
        const isVariable = type === VARIABLE_SET || type === VARIABLE_DELETED;
        return {
          workflowId: random.pick(["v", "w"]),
          taskExecutionId: isVariable ? "" : random.pick(["a", "b"]),
          type,
          payload: isVariable ? JSON.stringify({ name: random.pick(["x", "y"]) }) : "p",
        };
      });
    let position = 0;
    let got = 0;
    for (let connection = 0; connection < 40; connection++) {
      const gate = random.chance(0.5)
        ? new SharedGate(turns(), random.chance(0.5) ? random.below(30) : undefined)
        : undefined;
      const abort = new AbortController();
      const reader = stream.follow(
        { ...request, start: position },
        { signal: abort.signal, ...(gate && { gate }) },
      );
      for (let messages = random.below(12); messages > 0; messages--) {
        stream.append(...write());
        const next = reader.next();
        let result: Awaited<typeof next> | undefined;
        void next.then(
          (value) => (result = value),
          () => {},
        );
        while (result === undefined) {
          gate?.grant(random.below(20));
          await stream.clock.advance(random.below(5000));
        }
        const message = result.value;
        if (message?.kind === "heartbeat") {
          // Nothing for it lies behind the position that it is told.
          expect(stream.events.slice(position, message.offset).filter(passes)).toEqual([]);
          position = message.offset;
        } else if (message?.kind === "events") {
          const last = message.events.at(-1)?.offset ?? 0;
          const whole = stream.events.slice(position, last).filter(passes);
          expect(message.events).toEqual(expected(whole, conflateTypes));
          got += message.events.reduce(
            (sum: number, { replaced }: SentEvent) => sum + 1 + (replaced ?? 0),
            0,
          );
          position = last;
        }
      }
      abort.abort();
      await reader.return(undefined).catch(() => {});
    }
    // Through all its connections it was sent every event, or its number.
    expect(got).toBe(stream.events.slice(0, position).filter(passes).length);
    expect([stream.users, got > 100]).toEqual([0, true]);
  });
});
