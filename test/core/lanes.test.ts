import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import type { Command } from "../../server/core/command.ts";
import { Lanes, type Queued } from "../../server/core/lanes.ts";
import { limits } from "../../server/core/limits.ts";
import { anEvent, close, entries } from "../support/commands.ts";
import { takeGroup } from "../support/take-group.ts";

const result = { kind: "entries", stored: 1, duplicates: 0, lastOffset: 1, refusals: [] } as const;
const none = () => {};

function command(stream: string, change: Partial<Command> = {}): Command {
  return { ...entries(stream, [anEvent({ workflowId: "w" })]), ...change } as Command;
}

/** Takes and settles group after group; gives the streams (or whatever `name` says) of each. */
function drain(lanes: Lanes, name: (item: Queued) => string = (item) => item.command.streamId): string[][] {
  const groups: string[][] = [];
  for (let group = takeGroup(lanes); group.length > 0; group = takeGroup(lanes)) {
    groups.push(group.map(name));
    for (const item of group) item.settle(result);
  }
  return groups;
}

describe("bounds", () => {
  test("a lone flooder gets half of a lane, and others still find room", () => {
    const lanes = new Lanes(() => 0);
    let taken = 0;
    while (lanes.offer(command("a"), none) === "queued") taken++;
    expect(taken).toBe(limits.laneEntries.normal / 2);
    expect(lanes.offer(command("b", { tenant: "globex" }), none)).toBe("queued");
  });

  test("bytes are bounded as well as entries", () => {
    const lanes = new Lanes(() => 0);
    let bytes = 0;
    const big = command("a", { bytes: 1024 * 1024 });
    while (lanes.offer(big, none) === "queued") bytes += big.bytes;
    expect(bytes).toBe(limits.laneBytes / 2);
  });

  test("what is taken counts until it is settled", () => {
    const lanes = new Lanes(() => 0);
    while (lanes.offer(command("a", { entries: 1000 }), none) === "queued");
    const [group] = [takeGroup(lanes)];
    expect(lanes.offer(command("a", { entries: 1000 }), none)).toBe("full");
    for (const item of group) item.settle(result);
    expect(lanes.offer(command("a", { entries: 1000 }), none)).toBe("queued");
  });

  test("a closed lane takes nothing, and everything that was in comes out", () => {
    const lanes = new Lanes(() => 0);
    lanes.offer(command("a"), none);
    lanes.close();
    expect(lanes.offer(command("a"), none)).toBe("closed");
    expect(drain(lanes)).toEqual([["a"]]);
    expect(lanes.waiting).toBe(0);
  });

  test("no mix of tenants, lanes and sizes ever exceeds a lane's capacity", () => {
    const step = fc.record({
      tenant: fc.constantFrom("a", "b", "c"),
      lane: fc.constantFrom("high", "normal", "low"),
      entries: fc.integer({ min: 1, max: 1000 }),
      bytes: fc.integer({ min: 1, max: 3_000_000 }),
      settles: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const lanes = new Lanes(() => 0);
        for (const { tenant, lane, entries, bytes, settles } of steps) {
          lanes.offer(command(tenant, { tenant, lane, entries, bytes } as Partial<Command>), none);
          const reading = lanes.usage.read(lane as "high");
          expect(reading.entries).toBeLessThanOrEqual(reading.capacityEntries);
          expect(reading.bytes).toBeLessThanOrEqual(reading.capacityBytes);
          if (settles) for (const item of takeGroup(lanes)) item.settle(result);
        }
        drain(lanes);
        for (const lane of ["high", "normal", "low"] as const) {
          expect(lanes.usage.read(lane)).toMatchObject({ entries: 0, bytes: 0 });
        }
      }),
      { numRuns: 50 },
    );
  });
});

describe("groups", () => {
  test("hold at most 1,000 entries and 2 MiB; a larger command goes alone", () => {
    const lanes = new Lanes(() => 0);
    for (let i = 0; i < 30; i++) lanes.offer(command("a", { entries: 100 }), none);
    for (let i = 0; i < 3; i++) lanes.offer(command("b", { bytes: 1024 * 1024 }), none);
    lanes.offer(command("c", { bytes: 3 * 1024 * 1024 }), none);
    for (let group = takeGroup(lanes); group.length > 0; group = takeGroup(lanes)) {
      const sum = (what: "entries" | "bytes") => group.reduce((total, item) => total + item.command[what], 0);
      if (group.length > 1) {
        expect(sum("entries")).toBeLessThanOrEqual(limits.groupEntries);
        expect(sum("bytes")).toBeLessThanOrEqual(limits.groupBytes);
      }
      for (const item of group) item.settle(result);
    }
    expect(lanes.waiting).toBe(0);
  });

  test("of several tenants are small, so that none waits for a thousand entries of another; of one alone they are large again", () => {
    let now = 0;
    const lanes = new Lanes(() => now);
    const taken = (tenants: readonly string[]) => {
      for (let i = 0; i < 40; i++) {
        for (const tenant of tenants) lanes.offer(command(tenant, { tenant, entries: 50 }), none);
      }
      const sizes: number[] = [];
      for (let group = takeGroup(lanes); group.length > 0; group = takeGroup(lanes)) {
        sizes.push(group.reduce((sum, item) => sum + item.command.entries, 0));
        for (const item of group) item.settle(result);
      }
      return sizes;
    };
    expect(Math.max(...taken(["a"]))).toBe(limits.groupEntries);
    expect(Math.max(...taken(["a", "b"]))).toBe(limits.sharedGroupEntries);
    expect(Math.max(...taken(["b"]))).toBe(limits.sharedGroupEntries);
    now += 1000;
    expect(Math.max(...taken(["b"]))).toBe(limits.groupEntries);
  });

  test("keep the order of each stream, whatever lanes and hazards there are", () => {
    const step = fc.record({
      stream: fc.constantFrom("a", "b", "c"),
      lane: fc.constantFrom("high", "normal", "low"),
      kind: fc.constantFrom("token", "token", "token", "terminal", "close"),
      takes: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const lanes = new Lanes(() => 0);
        const got: Record<string, number[]> = { a: [], b: [], c: [] };
        const wanted: Record<string, number[]> = { a: [], b: [], c: [] };
        const numbers = new Map<Command, number>();
        const take = () => {
          const group = takeGroup(lanes);
          for (const item of group) {
            got[item.command.streamId]?.push(numbers.get(item.command) ?? -1);
            item.settle(result);
          }
          return group.length;
        };
        for (const [number, { stream, lane, kind, takes }] of steps.entries()) {
          const made: Command = {
            ...(kind === "close"
              ? close(stream, "w")
              : entries(stream, [anEvent({ workflowId: "w", type: kind === "terminal" ? 9 : 1 })])),
            lane: lane as "high",
          };
          numbers.set(made, number);
          wanted[stream]?.push(number);
          expect(lanes.offer(made, none)).toBe("queued");
          if (takes) take();
        }
        while (take() > 0);
        expect(got).toEqual(wanted);
        expect(lanes.waiting).toBe(0);
      }),
    );
  });

  test("what follows a lifecycle change or a task's end in its stream waits for the next group; other streams do not", () => {
    const lanes = new Lanes(() => 0);
    lanes.offer(command("a"), none);
    lanes.offer(close("a", "w"), none);
    lanes.offer(command("a"), none);
    lanes.offer(entries("b", [anEvent({ workflowId: "w2", type: 9 })]), none);
    lanes.offer(entries("b", [anEvent({ workflowId: "w2" })]), none);
    lanes.offer(command("c"), none);
    expect(drain(lanes).map((group) => group.toSorted())).toEqual([
      ["a", "a", "b", "c"],
      ["a", "b"],
    ]);
  });

  test("what is put back goes first, in its order, alone, and not before its time", () => {
    let now = 0;
    const lanes = new Lanes(() => now);
    const name = (item: Queued) => `${item.command.streamId}${item.command.entries}`;
    for (const n of [1, 2, 3]) lanes.offer(command("a", { entries: n }), none);
    const group = takeGroup(lanes);
    lanes.offer(command("a", { entries: 4 }), none);
    lanes.offer(command("b"), none);
    lanes.putBack(group, 100);
    expect(drain(lanes, name)).toEqual([["b1"]]);
    expect(lanes.nextReleaseMs()).toBe(100);
    now = 100;
    const first = takeGroup(lanes);
    expect(first.map(name)).toEqual(["a1"]);
    for (const item of first) item.settle(result);
    lanes.clearSuspicion("a");
    expect(drain(lanes, name)).toEqual([["a2", "a3", "a4"]]);
  });
});

describe("a stream with commands in a group that is under way", () => {
  const streams = (group: readonly Queued[]) => group.map((item) => item.command.streamId);

  test("gives nothing to another one, then goes on in order", () => {
    const lanes = new Lanes(() => 0);
    for (let i = 0; i < 1500; i++) lanes.offer(command("a", { entries: 1 }), none);
    const first = lanes.take();
    expect(first.length).toBe(1000);
    for (const name of ["a", "b"]) lanes.offer(command(name), none);
    expect(lanes.hasReady).toBe(true);
    const beside = lanes.take();
    expect(streams(beside)).toEqual(["b"]);
    expect(lanes.hasReady).toBe(false);
    expect(lanes.take()).toEqual([]);
    lanes.release(first);
    expect(lanes.take().length).toBe(501);
  });

  test("has what was put back before what came meanwhile", () => {
    const lanes = new Lanes(() => 0);
    for (const n of [1, 2]) lanes.offer(command("a", { entries: n }), none);
    const group = lanes.take();
    lanes.offer(command("a", { entries: 3 }), none);
    lanes.putBack(group, 0);
    expect(lanes.take()).toEqual([]);
    lanes.release(group);
    lanes.clearSuspicion("a");
    expect(takeGroup(lanes).map((item) => item.command.entries)).toEqual([1, 2, 3]);
  });

  test("is remembered as such when nothing of it waits", () => {
    const lanes = new Lanes(() => 0);
    lanes.offer(command("a"), none);
    const group = lanes.take();
    expect(lanes.takeOut(() => true)).toEqual([]);
    lanes.offer(command("a"), none);
    expect(lanes.take()).toEqual([]);
    lanes.release(group);
    expect(streams(lanes.take())).toEqual(["a"]);
  });

  test("is not waited for by time, though it was held before", () => {
    let now = 0;
    const lanes = new Lanes(() => now);
    lanes.offer(command("a"), none);
    lanes.putBack(takeGroup(lanes), 100);
    now = 100;
    const group = lanes.take();
    lanes.offer(command("a"), none);
    expect(lanes.nextReleaseMs()).toBeUndefined();
    lanes.release(group);
    expect(streams(lanes.take())).toEqual(["a"]);
  });

  test("does not count as a full group that waits", () => {
    const lanes = new Lanes(() => 0);
    lanes.offer(command("a"), none);
    const group = lanes.take();
    for (let i = 0; i < limits.groupEntries; i++) lanes.offer(command("a"), none);
    expect([lanes.hasReady, lanes.hasFullGroup]).toEqual([false, false]);
    lanes.release(group);
    expect([lanes.hasReady, lanes.hasFullGroup]).toEqual([true, true]);
  });

  test("is counted right whatever is offered, taken, put back, taken out and released", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(11), { maxLength: 200 }), (acts) => {
        const lanes = new Lanes(() => 0);
        const underWay: Queued[][] = [];
        for (const [i, act] of acts.entries()) {
          const group = underWay.at(-1);
          if (act < 6) lanes.offer(command(`s${act % 4}`, { entries: 1 + (i % 3) }), none);
          else if (act < 8) underWay.push(lanes.take());
          else if (act === 8 && group !== undefined) lanes.release(underWay.pop() ?? []);
          else if (act === 9 && group !== undefined) {
            lanes.putBack(underWay.pop() ?? [], 0);
            lanes.release(group);
          } else if (act === 10) lanes.takeOut((item) => item.command.entries === 2);
          else if (act === 11) lanes.clearSuspicion("s1");
        }
        for (const group of underWay) lanes.release(group);
        for (const n of [0, 1, 2, 3]) lanes.clearSuspicion(`s${n}`);
        const rest = drain(lanes, (item) => item.command.streamId);
        expect(lanes.hasReady).toBe(false);
        expect(rest.every((group) => group.length > 0)).toBe(true);
        expect(lanes.takeOut(() => true)).toEqual([]);
      }),
    );
  });
});

test("a held stream that runs empty is forgotten, and nothing waits for its release", () => {
  const lanes = new Lanes(() => 0);
  lanes.offer(command("a"), none);
  lanes.putBack(takeGroup(lanes), 100);
  expect(lanes.nextReleaseMs()).toBe(100);
  for (const item of lanes.takeOut(() => true)) item.settle(result);
  expect(lanes.nextReleaseMs()).toBeUndefined();
  expect(lanes.waiting).toBe(0);
});

describe("fairness", () => {
  /** What the next groups take of the first thousand entries. */
  const takeThousand = (lanes: Lanes) => {
    const taken: Queued[] = [];
    while (taken.reduce((sum, item) => sum + item.command.entries, 0) < 1000) taken.push(...takeGroup(lanes));
    return taken;
  };

  test("a tenant that floods does not keep another one waiting", () => {
    const lanes = new Lanes(() => 0);
    for (let i = 0; i < 20_000; i++) lanes.offer(command(`flood ${i % 50}`, { tenant: "flooder" }), none);
    for (let i = 0; i < 400; i++) lanes.offer(command("quiet", { tenant: "quiet" }), none);
    const first = takeThousand(lanes);
    expect(first.filter((item) => item.command.tenant === "quiet").length).toBeGreaterThanOrEqual(300);
  });

  test("tenants share by entries, not by commands", () => {
    const lanes = new Lanes(() => 0);
    for (let i = 0; i < 100; i++) lanes.offer(command("big", { tenant: "big", entries: 100 }), none);
    for (let i = 0; i < 10_000; i++) lanes.offer(command("small", { tenant: "small" }), none);
    const first = takeThousand(lanes);
    const of = (tenant: string) =>
      first
        .filter((item) => item.command.tenant === tenant)
        .reduce((sum, item) => sum + item.command.entries, 0);
    expect(of("big")).toBeGreaterThanOrEqual(400);
    expect(of("small")).toBeGreaterThanOrEqual(400);
  });

  const streamsOf = (group: readonly Queued[]) => {
    const counts: Record<string, number> = {};
    for (const { command } of group) counts[command.streamId] = (counts[command.streamId] ?? 0) + 1;
    return counts;
  };

  test("many streams of one tenant have 100 entries each in turn", () => {
    const lanes = new Lanes(() => 0);
    for (let i = 0; i < 20_000; i++) lanes.offer(command(`${i % 40}`), none);
    for (let from = 0; from < 40; from += 10) {
      const expected = Array.from({ length: 10 }, (_, i) => [`${from + i}`, 100]);
      expect(streamsOf(takeGroup(lanes))).toEqual(Object.fromEntries(expected));
    }
  });

  test("one that is calm beside a busy one has its turn in the second group", () => {
    const lanes = new Lanes(() => 0);
    for (let i = 0; i < 10_000; i++) lanes.offer(command("busy"), none);
    for (let i = 0; i < 100; i++) lanes.offer(command("calm"), none);
    expect(streamsOf(takeGroup(lanes))).toEqual({ busy: 1000 });
    expect(streamsOf(takeGroup(lanes))).toEqual({ calm: 100, busy: 900 });
  });

  test("where other tenants write and groups are small, it waits no longer", () => {
    const lanes = new Lanes(() => 0);
    for (let i = 0; i < 10_000; i++) lanes.offer(command("busy"), none);
    for (let i = 0; i < 100; i++) lanes.offer(command("calm"), none);
    lanes.offer(command("other", { tenant: "other" }), none);
    expect(streamsOf([...takeGroup(lanes), ...takeGroup(lanes)])).toMatchObject({
      busy: 399,
      calm: 100,
      other: 1,
    });
  });

  test("of few streams a group takes some, and leaves others to one that goes beside it", () => {
    const lanes = new Lanes(() => 0);
    for (let i = 0; i < 4000; i++) lanes.offer(command(`${i % 8}`), none);
    const first = lanes.take();
    expect(streamsOf(first)).toEqual({ 0: 250, 1: 250, 2: 250, 3: 250 });
    expect(lanes.hasFullGroup).toBe(true);
    const second = lanes.take();
    expect(second).toHaveLength(1000);
    expect(Object.keys(streamsOf(second))).toEqual(["4", "5", "6", "7"]);
    expect(lanes.hasReady).toBe(false);
    lanes.release(first);
    const third = lanes.take();
    expect(third).toHaveLength(1000);
    expect(Object.keys(streamsOf(third))).toEqual(["0", "1", "2", "3"]);
  });

  test("a lane that always has work leaves the lower ones their share", () => {
    const lanes = new Lanes(() => 0);
    for (let i = 0; i < 4000; i++) lanes.offer(command("h", { lane: "high" }), none);
    for (let i = 0; i < 4000; i++) lanes.offer(command("n", { lane: "normal" }), none);
    for (let i = 0; i < 4000; i++) lanes.offer(command("l", { lane: "low" }), none);
    const [first] = [takeGroup(lanes)];
    const count = (stream: string) => first.filter((item) => item.command.streamId === stream).length;
    expect(count("h")).toBeGreaterThan(count("n"));
    expect(count("n")).toBeGreaterThan(count("l"));
    expect(count("l")).toBeGreaterThanOrEqual(90);
  });
});

describe("pressure", () => {
  /** 1,000 tenants with an entry each, beside two that fill the lane and are settled last. */
  function filled() {
    const lanes = new Lanes(() => 0);
    /** By lane and tenant: the level when it was told of last, and how often. */
    const told = new Map<string, { level: number; times: number }>();
    lanes.onPressure((lane, changed) => {
      for (const of of changed) {
        const key = `${lane} ${of ?? ""}`;
        told.set(key, { level: lanes.usage.pressure(lane, of), times: (told.get(key)?.times ?? 0) + 1 });
      }
    });
    const full = limits.laneEntries.normal;
    lanes.offer(command("big", { tenant: "big", entries: full * 0.49 }), none);
    lanes.offer(command("other", { tenant: "other", entries: full * 0.25 }), none);
    for (let i = 0; i < 1000; i++) lanes.offer(command(`s${i}`, { tenant: `t${i}` }), none);
    const taken: Queued[] = [];
    for (let group = takeGroup(lanes); group.length > 0; group = takeGroup(lanes)) taken.push(...group);
    taken.sort((a, b) => a.command.entries - b.command.entries);
    return { lanes, taken, told };
  }

  test("is over for everybody who was told of it, also for who holds nothing any more, and that is told once", () => {
    const { lanes, taken, told } = filled();
    expect(told.get("normal t999")?.level).toBeGreaterThan(0.5);
    const before = new Map([...told].map(([key, { times }]) => [key, times]));
    for (const item of taken) item.settle(result);
    expect(told.size).toBe(1003); // the tenants, the two, the lane
    for (const [key, { level, times }] of told) {
      expect(level, key).toBeLessThan(0.5);
      if (key.startsWith("normal t")) expect(times - (before.get(key) ?? 0), key).toBe(1);
    }
    const after = [...told.values()].reduce((sum, { times }) => sum + times, 0);
    lanes.offer(command("x"), none);
    expect([...told.values()].reduce((sum, { times }) => sum + times, 0)).toBe(after);
  });

  test("that is over costs who comes later nothing", () => {
    const { lanes, taken } = filled();
    for (const item of taken) item.settle(result);
    const pressure = vi.spyOn(lanes.usage, "pressure");
    lanes.offer(command("x"), none);
    drain(lanes);
    expect(pressure).not.toHaveBeenCalled();
  });
});
