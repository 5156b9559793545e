/** The ring of system events, its readers, and what fills it, without a server. */
import { describe, expect, test } from "vitest";
import { createMemoryBus } from "../../server/bus/memory-bus.ts";
import { Lanes } from "../../server/core/lanes.ts";
import { limits } from "../../server/core/limits.ts";
import { Newsroom } from "../../server/core/news.ts";
import { OpenCalls } from "../../server/core/open-call.ts";
import type { SignalBody } from "../../server/core/ports.ts";
import { type SessionChange, Sessions, type SessionsDeps } from "../../server/core/session/sessions.ts";
import { DatabaseWatch } from "../../server/core/system/database-watch.ts";
import { HealthWatch } from "../../server/core/system/health.ts";
import { toSessionEvent } from "../../server/core/system/occasions.ts";
import { watchPressure } from "../../server/core/system/pressure-watch.ts";
import {
  type SystemEventFilter,
  type SystemEventMessage,
  streamSystemEvents,
} from "../../server/core/system/stream-system-events.ts";
import {
  type NewSystemEvent,
  SystemEvents,
  SystemEventType,
} from "../../server/core/system/system-events.ts";
import { anEvent, entries } from "../support/commands.ts";
import { newId } from "../support/database.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { takeGroup } from "../support/take-group.ts";
import { until } from "../support/until.ts";

const { WARNING, ERROR, SESSION_ATTACHED, BACKPRESSURE_ENTERED, BACKPRESSURE_LEFT, HEALTH_CHANGED } =
  SystemEventType;
const owner = { tenant: undefined, apiKeyId: undefined, expiresMs: undefined };

function world(bus = createMemoryBus(), instanceId = "one") {
  const clock = new ManualClock();
  const calls = new OpenCalls({ clock, random: () => 0 });
  const failures: string[] = [];
  const systemEvents = new SystemEvents({
    bus,
    instanceId,
    databaseNow: () => 42,
    onFailure: (message) => failures.push(message),
  });
  const abort = new AbortController();
  const read = (filter: Partial<SystemEventFilter> = {}) =>
    streamSystemEvents(
      { systemEvents, calls, clock },
      { types: [], tenant: undefined, ...filter },
      owner,
      abort.signal,
    );
  return { bus, clock, calls, systemEvents, failures, abort, read };
}

const anything = (
  message: string,
  tenant?: string,
  type: NewSystemEvent["type"] = WARNING,
): NewSystemEvent => ({
  type,
  component: "test",
  message,
  tenant,
});

async function take(
  reader: AsyncGenerator<SystemEventMessage>,
  count: number,
): Promise<SystemEventMessage[]> {
  const messages: SystemEventMessage[] = [];
  while (messages.length < count) {
    const { value, done } = await reader.next();
    if (done === true) break;
    messages.push(value);
  }
  return messages;
}

const textOf = (message: SystemEventMessage) =>
  message.kind === "event" ? message.event.message : message.kind;

test("a reader hears that it listens, then what comes from now on, in order", async () => {
  const { systemEvents, read } = world();
  systemEvents.emit(anything("before"));
  const reader = read();
  expect(await take(reader, 1)).toEqual([{ kind: "heartbeat" }]);
  for (const text of ["a", "b", "c"]) systemEvents.emit(anything(text));
  expect((await take(reader, 3)).map(textOf)).toEqual(["a", "b", "c"]);
  await reader.return(undefined);
});

test("an event is for its tenant and for those who see all; without a tenant for the latter alone", async () => {
  const { systemEvents, read } = world();
  const [all, acme, globex, errors] = [
    read(),
    read({ tenant: "acme" }),
    read({ tenant: "globex" }),
    read({ types: [ERROR] }),
  ];
  const readers = [all, acme, globex, errors];
  for (const reader of readers) await take(reader, 1);
  systemEvents.emit(anything("instance"));
  systemEvents.emit(anything("acme", "acme"));
  systemEvents.emit(anything("instance error", undefined, ERROR));
  systemEvents.emit(anything("globex error", "globex", ERROR));
  systemEvents.emit(anything("acme error", "acme", ERROR));
  expect((await take(all, 5)).map(textOf)).toEqual([
    "instance",
    "acme",
    "instance error",
    "globex error",
    "acme error",
  ]);
  expect((await take(acme, 2)).map(textOf)).toEqual(["acme", "acme error"]);
  expect((await take(globex, 1)).map(textOf)).toEqual(["globex error"]);
  expect((await take(errors, 3)).map(textOf)).toEqual(["instance error", "globex error", "acme error"]);
  for (const reader of readers) await reader.return(undefined);
});

test("one that falls out of the ring is told how many of its events it missed, and no other's", async () => {
  const { systemEvents, read } = world();
  const [all, acme, globex] = [read(), read({ tenant: "acme", types: [ERROR] }), read({ tenant: "globex" })];
  for (const reader of [all, acme, globex]) await take(reader, 1);
  systemEvents.emit(anything("read", "acme", ERROR));
  expect((await take(acme, 1)).map(textOf)).toEqual(["read"]);
  for (let i = 0; i < 10; i++) systemEvents.emit(anything(`missed ${i}`, "acme", ERROR));
  for (let i = 0; i < limits.systemEvents - 1; i++) systemEvents.emit(anything(`kept ${i}`));
  systemEvents.emit(anything("last", "acme", ERROR));
  const [warning, last] = await take(acme, 2);
  expect(warning).toMatchObject({ event: { type: WARNING, metadata: { missed: "10" }, tenant: undefined } });
  expect(textOf(last as SystemEventMessage)).toBe("last");
  const [first] = await take(all, 1);
  expect(first).toMatchObject({ event: { type: WARNING, metadata: { missed: "11" } } });
  expect((await take(all, limits.systemEvents)).map(textOf).at(-1)).toBe("last");
  // Nothing of its own was missed: nothing is said.
  systemEvents.emit(anything("own", "globex"));
  expect((await take(globex, 1)).map(textOf)).toEqual(["own"]);
  for (const reader of [all, acme, globex]) await reader.return(undefined);
});

test("after fifteen seconds without an event there is a heartbeat; a close ends the call in words", async () => {
  const { clock, calls, systemEvents, read } = world();
  const reader = read();
  await take(reader, 1);
  const next = reader.next();
  let told = false;
  void next.then(() => {
    told = true;
  });
  await until(() => expect(clock.timers).toBe(1));
  clock.move(14_999);
  await Promise.resolve();
  expect(told).toBe(false);
  clock.move(1);
  expect((await next).value).toEqual({ kind: "heartbeat" });
  const drained = calls.drain("reader", new AbortController().signal);
  systemEvents.emit(anything("the last"));
  expect((await take(reader, 3)).map(textOf)).toEqual(["the last", "closing"]);
  await drained;
  expect(calls.size).toBe(0);
  expect(clock.timers).toBe(0);
});

test("a reader that leaves, in the middle of waiting too, leaves nothing behind", async () => {
  const { clock, calls, abort, read } = world();
  const reader = read();
  await take(reader, 1);
  const next = reader.next();
  await until(() => expect(clock.timers).toBe(1));
  abort.abort();
  await expect(next).rejects.toThrow();
  expect(calls.size).toBe(0);
  expect(clock.timers).toBe(0);
});

describe("emitting", () => {
  test("never throws and never fails what was done: the ring has the event although the bus is broken", async () => {
    const broken = {
      ...createMemoryBus(),
      signal: () => {
        throw new Error("broken");
      },
    };
    const { systemEvents, failures, read } = world(broken);
    const reader = read();
    await take(reader, 1);
    systemEvents.emit(anything("a"));
    expect((await take(reader, 1)).map(textOf)).toEqual(["a"]);
    expect(failures).toHaveLength(1);
    await reader.return(undefined);
  });

  test("cuts what is too long at a whole character, and stays within a signal", async () => {
    const { systemEvents, read, failures } = world();
    const reader = read();
    await take(reader, 1);
    const long = "ä€😀".repeat(10_000);
    const metadata = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`key ${i}`, long]));
    systemEvents.emit({ ...anything(long), metadata });
    const [message] = await take(reader, 1);
    if (message?.kind !== "event") throw new Error("no event");
    expect(long.startsWith(message.event.message)).toBe(true);
    expect(message.event.message.length).toBeGreaterThan(500);
    expect(Buffer.byteLength(JSON.stringify(message.event))).toBeLessThan(2 * limits.systemEventBytes);
    expect(failures).toEqual([]);
    await reader.return(undefined);
  });
});

describe("between instances", () => {
  test("events come once and as they were, also if their signals come twice", async () => {
    const bus = createMemoryBus();
    const doubling = {
      ...bus,
      signal(topic: string, body: SignalBody) {
        bus.signal(topic, body);
        bus.signal(topic, body);
      },
    };
    const [here, there] = [world(bus, "here"), world(doubling, "there")];
    await Promise.all([here.systemEvents.open(), there.systemEvents.open()]);
    const [reader, own] = [here.read(), there.read()];
    await Promise.all([take(reader, 1), take(own, 1)]);
    there.systemEvents.emit({ ...anything("a", "acme", SESSION_ATTACHED), metadata: { session_id: "s" } });
    there.systemEvents.emit(anything("b"));
    const told = await take(reader, 2);
    expect(told).toEqual(await take(own, 2));
    expect(told[0]).toEqual({
      kind: "event",
      event: {
        type: SESSION_ATTACHED,
        instanceId: "there",
        component: "test",
        message: "a",
        metadata: { tenant: "acme", session_id: "s" },
        tenant: "acme",
        timestampMs: 42,
      },
    });
    await Promise.all([reader.return(undefined), own.return(undefined)]);
  });

  test("lost signals are noticed with the next one", async () => {
    const bus = createMemoryBus();
    let lose = false;
    const losing = {
      ...bus,
      signal(topic: string, body: SignalBody) {
        if (!lose) bus.signal(topic, body);
      },
    };
    const [here, there] = [world(bus, "here"), world(losing, "there")];
    await here.systemEvents.open();
    const reader = here.read();
    const tenants = here.read({ tenant: "acme" });
    await Promise.all([take(reader, 1), take(tenants, 1)]);
    there.systemEvents.emit(anything("a", "acme"));
    lose = true;
    for (let i = 0; i < 3; i++) there.systemEvents.emit(anything("lost", "acme"));
    lose = false;
    there.systemEvents.emit(anything("b", "acme"));
    const [a, warning, b] = await take(reader, 3);
    expect([a, b].map((message) => textOf(message as SystemEventMessage))).toEqual(["a", "b"]);
    expect(warning).toMatchObject({
      event: { type: WARNING, instanceId: "here", metadata: { instance_id: "there", missed: "3" } },
    });
    expect((await take(tenants, 2)).map(textOf)).toEqual(["a", "b"]);
    await Promise.all([reader.return(undefined), tenants.return(undefined)]);
  });

  test("what another version says and this one does not understand is left out", async () => {
    const { bus, systemEvents, read } = world();
    await systemEvents.open();
    const reader = read();
    await take(reader, 1);
    for (const body of [null, 1, "x", [], {}, { number: 1, type: 4, instanceId: "x", metadata: null }])
      bus.signal("system-events", body as SignalBody);
    systemEvents.emit(anything("a"));
    expect((await take(reader, 1)).map(textOf)).toEqual(["a"]);
    await reader.return(undefined);
  });
});

test("pressure is told when it passes 80 % and when it is at 50 % again, of the lane and of the tenant", () => {
  const lanes = new Lanes(() => 0);
  const told: NewSystemEvent[] = [];
  const stop = watchPressure(lanes, { emit: (event) => told.push(event) });
  const settles: (() => void)[] = [];
  const offer = (tenant: string, count: number) => {
    const streamId = newId();
    const one = anEvent({ workflowId: newId() });
    for (let i = 0; i < count; i++) {
      const command = { ...entries(streamId, [one]), tenant, lane: "high" as const };
      expect(lanes.offer(command, () => {})).toBe("queued");
    }
  };
  const settle = (count: number) => {
    while (settles.length < count)
      for (const item of takeGroup(lanes)) settles.push(() => item.settle(new Error()));
    for (const done of settles.splice(0, count)) done();
  };
  const brief = () => told.splice(0).map(({ type, tenant, metadata }) => [type, tenant, metadata?.["lane"]]);
  // A tenant alone may hold half: 4,445 of 10,000 are 80 % of what is free beside them.
  offer("acme", 4440);
  expect(brief()).toEqual([]);
  offer("acme", 60);
  expect(brief()).toEqual([[BACKPRESSURE_ENTERED, "acme", "high"]]);
  settle(100);
  offer("acme", 100);
  expect(brief()).toEqual([]);
  offer("globex", 2000);
  offer("initech", 1600);
  expect(brief()).toEqual(expect.arrayContaining([[BACKPRESSURE_ENTERED, undefined, "high"]]));
  settle(8100);
  const left = brief();
  expect(left.filter(([type]) => type === BACKPRESSURE_LEFT)).toEqual(
    expect.arrayContaining([
      [BACKPRESSURE_LEFT, undefined, "high"],
      [BACKPRESSURE_LEFT, "acme", "high"],
    ]),
  );
  stop();
  offer("acme", 4500);
  expect(told).toEqual([]);
  settle(4500);
});

test("times are the database's: the distance of the clocks is measured again and again, and slow answers do not count", async () => {
  const clock = new ManualClock();
  let ahead = 3_600_000;
  let tookMs = 0;
  let fails = false;
  let tries = 0;
  const watch = new DatabaseWatch({
    clock,
    readNow: () => {
      clock.move(tookMs / 2);
      const nowMs = clock.now() + ahead;
      clock.move(tookMs / 2);
      return fails ? Promise.reject(new Error("away")) : Promise.resolve(nowMs);
    },
    onTried: () => {
      tries++;
    },
  });
  await watch.start();
  expect(watch.now()).toBe(clock.now() + 3_600_000);
  const next = async (ms: number) => {
    const before = tries;
    clock.move(ms);
    await until(() => expect(tries).toBe(before + 1));
  };
  ahead = 1000;
  await next(10_000);
  expect(watch.now()).toBe(clock.now() + 1000);
  ahead = 500_000;
  tookMs = 600;
  await next(10_000);
  expect(watch.now()).toBe(clock.now() + 1000);
  tookMs = 0;
  fails = true;
  await next(10_000);
  expect(watch.answers).toBe(false);
  fails = false;
  await next(1000);
  expect(watch.answers).toBe(true);
  await watch.stop();
  expect(clock.timers).toBe(0);
});

test("a session whose lease is over is told as closed, with its tenant and place", async () => {
  const clock = new ManualClock();
  const told: SessionChange[] = [];
  const expired = { sessionId: newId(), tenant: "acme", workflowId: undefined, space: "notes" };
  const sessions = new Sessions({
    clock,
    news: new Newsroom({ bus: createMemoryBus(), instanceId: "here" }),
    store: { expire: () => Promise.resolve([expired]) },
    onChange: (change: SessionChange) => told.push(change),
  } as unknown as SessionsDeps);
  await sessions.keepLeases();
  sessions.close();
  expect(told.map(toSessionEvent)).toMatchObject([
    {
      type: SystemEventType.SESSION_CLOSED,
      tenant: "acme",
      metadata: { session_id: expired.sessionId, space: "notes", reason: "LEASE_EXPIRED" },
    },
  ]);
});

test("health is told when it changes, in the words of GetStats", () => {
  const told: NewSystemEvent[] = [];
  const is = { draining: false, there: true, trouble: undefined as string | undefined };
  const health = new HealthWatch({
    systemEvents: { emit: (event) => told.push(event) },
    isDraining: () => is.draining,
    isDatabaseThere: () => is.there,
    busTrouble: () => is.trouble,
  });
  const look = (change: Partial<typeof is>) => {
    Object.assign(is, change);
    health.look();
    health.look();
  };
  look({});
  look({ there: false });
  look({ there: true });
  look({ trouble: "no route" });
  look({ draining: true });
  expect(told.every(({ type }) => type === HEALTH_CHANGED)).toBe(true);
  expect(told.map(({ metadata }) => metadata?.["status"])).toEqual([
    "degraded: database",
    "healthy",
    "degraded: bus",
    "draining",
  ]);
});
