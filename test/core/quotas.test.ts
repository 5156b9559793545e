/** Rates, limits and counts of readers by a clock that is turned by hand. */
import { describe, expect, test } from "vitest";
import { createMemoryBus } from "../../server/bus/memory-bus.ts";
import { createCounts } from "../../server/core/counts.ts";
import { DomainError } from "../../server/core/errors.ts";
import { Newsroom } from "../../server/core/news.ts";
import { LimitsCache } from "../../server/core/quota/limits-cache.ts";
import { Rates } from "../../server/core/quota/rates.ts";
import { Readers } from "../../server/core/quota/readers.ts";
import { noLimits, type TenantLimits } from "../../server/core/tenants.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";

const rate = (entriesPerSecond: number, bytesPerSecond = 0) => ({ entriesPerSecond, bytesPerSecond });
const never = new AbortController().signal;

describe("rates", () => {
  test("a second's worth passes at once, then so much a second", () => {
    const clock = new ManualClock();
    const rates = new Rates(clock);
    const passed = () => {
      let n = 0;
      while (rates.take("a", rate(100), 1, 10) === 0) n++;
      return n;
    };
    expect(passed()).toBe(100);
    expect(rates.take("a", rate(100), 1, 10)).toBe(10);
    clock.move(500);
    expect(passed()).toBe(50);
    clock.move(60_000);
    expect(passed()).toBe(100);
  });

  test("a call of more than the limit passes and is paid for afterwards", () => {
    const clock = new ManualClock();
    const rates = new Rates(clock);
    expect(rates.take("a", rate(100), 1000, 0)).toBe(0);
    expect(rates.take("a", rate(100), 1, 0)).toBe(9010);
    clock.move(9000);
    expect(rates.take("a", rate(100), 1, 0)).toBe(10);
    clock.move(10);
    expect(rates.take("a", rate(100), 1000, 0)).toBe(0);
  });

  test("bytes are counted by themselves", () => {
    const clock = new ManualClock();
    const rates = new Rates(clock);
    expect(rates.take("a", rate(0, 1000), 1, 3000)).toBe(0);
    expect(rates.take("a", rate(0, 1000), 1, 1)).toBe(2001);
    expect(rates.takeSome("b", rate(0, 1000), [600, 600, 600])).toBe(2);
    expect(rates.takeSome("c", rate(2, 1000), [1, 1, 1])).toBe(2);
  });

  test("a tenant at its limit takes nothing from another", () => {
    const rates = new Rates(new ManualClock());
    expect(rates.take("a", rate(1), 1000, 0)).toBe(0);
    expect(rates.take("a", rate(1), 1, 0)).toBeGreaterThan(0);
    expect(rates.take("b", rate(1), 1, 0)).toBe(0);
  });

  test("another limit counts from the next call on", () => {
    const clock = new ManualClock();
    const rates = new Rates(clock);
    expect(rates.take("a", rate(1), 10, 0)).toBe(0);
    expect(rates.take("a", rate(1), 1, 0)).toBe(10_000);
    expect(rates.take("a", rate(1000), 1, 0)).toBe(10);
    expect(rates.take("a", rate(0), 1, 0)).toBe(0);
    expect(rates.take("a", rate(5), 5, 0)).toBe(0); // begins anew
  });

  test("those that wait go in turn, and those that do not wait pass between them, not instead of them", async () => {
    const clock = new ManualClock();
    const rates = new Rates(clock);
    const order: string[] = [];
    rates.take("a", rate(10), 10, 0);
    for (const name of ["first", "second", "third"]) {
      void rates.takeInTurn("a", () => rate(10), 10, 0, never).then(() => order.push(name));
    }
    for (let ms = 0; ms < 6000; ms += 50) {
      await clock.advance(50);
      if (rates.take("a", rate(10), 1, 0) === 0) order.push("-");
    }
    expect(order.filter((name) => name !== "-")).toEqual(["first", "second", "third"]);
    // One at a time between them; afterwards all the rate is theirs.
    expect(order.slice(0, order.indexOf("third")).join(" ")).toBe("- first - second -");
  });

  test("who waits leaves with the signal, and goes on at once without a limit", async () => {
    const clock = new ManualClock();
    const rates = new Rates(clock);
    let limit = rate(1);
    rates.take("a", limit, 1000, 0);
    const leave = new AbortController();
    const leaving = rates.takeInTurn("a", () => limit, 1, 0, leave.signal);
    const staying = rates.takeInTurn("a", () => limit, 1, 0, never);
    leave.abort();
    expect(await leaving).toBe(false);
    limit = rate(0);
    await clock.advance(1000);
    expect(await staying).toBe(true);
    expect(clock.timers).toBe(0);
  });

  test("buckets of idle tenants are dropped, debts are kept", () => {
    const clock = new ManualClock();
    const rates = new Rates(clock);
    rates.take("debtor", rate(1), 1000, 0);
    for (let n = 0; n < 1000; n++) {
      rates.take(`tenant-${n}`, rate(10), 1, 0);
      clock.move(200);
    }
    expect(rates.size).toBeLessThan(20);
    expect(rates.take("debtor", rate(1), 1, 0)).toBeGreaterThan(0);
  });
});

class LimitsWorld {
  readonly clock = new ManualClock();
  readonly bus = createMemoryBus();
  readonly rows = new Map<string, TenantLimits>();
  asked = 0;
  away = false;
  /** Answers are held back while it is there. */
  hold: Promise<void> | undefined;
  readonly failures: string[] = [];
  readonly cache: LimitsCache;

  constructor(name = "here", rows?: Map<string, TenantLimits>, bus = createMemoryBus()) {
    this.bus = bus;
    this.rows = rows ?? this.rows;
    const ask = async <T>(answer: () => T): Promise<T> => {
      this.asked++;
      if (this.away) throw new Error("away");
      const found = answer();
      await this.hold;
      return found;
    };
    const news = new Newsroom({ bus, instanceId: name });
    void news.open();
    this.cache = new LimitsCache({
      clock: this.clock,
      news,
      store: {
        limitsOf: (slug) => ask(() => this.rows.get(slug)),
        limitsOfMany: (slugs) => ask(() => new Map([...this.rows].filter(([slug]) => slugs.includes(slug)))),
      },
      onFailure: (message) => this.failures.push(message),
    });
  }

  set(tenant: string, limits: Partial<TenantLimits>): TenantLimits {
    const all = { ...noLimits, ...limits };
    this.rows.set(tenant, all);
    return all;
  }
}

describe("limits", () => {
  test("are read once, and again within 5 s while they are used; then forgotten", async () => {
    const world = new LimitsWorld();
    world.set("a", { maxStreams: 1 });
    const first = await Promise.all([world.cache.of("a"), world.cache.of("a")]);
    expect(first.map(({ maxStreams }) => maxStreams)).toEqual([1, 1]);
    expect(world.asked).toBe(1);
    world.set("a", { maxStreams: 2 });
    await world.clock.advance(5000);
    expect(world.cache.known("a")?.maxStreams).toBe(2);
    await world.clock.advance(70_000);
    expect(world.cache.known("a")).toBeUndefined();
    expect(world.clock.timers).toBe(0);
  });

  test("changed here they hold at once, at others with the news; an answer from before does not undo that", async () => {
    const here = new LimitsWorld("here");
    const there = new LimitsWorld("there", here.rows, here.bus);
    here.set("a", { maxStreams: 1 });
    await Promise.all([here.cache.of("a"), there.cache.of("a")]);
    const held = Promise.withResolvers<void>();
    here.hold = held.promise;
    here.cache.refresh(); // reads the old one
    here.cache.noteChanged("a", here.set("a", { maxStreams: 5 }));
    expect(here.cache.known("a")?.maxStreams).toBe(5);
    held.resolve();
    await settled();
    expect(here.cache.known("a")?.maxStreams).toBe(5);
    expect(there.cache.known("a")?.maxStreams).toBe(5);
  });

  test("while the database is away the last ones hold, and of others none", async () => {
    const world = new LimitsWorld();
    world.set("a", { maxStreams: 1 });
    await world.cache.of("a");
    world.away = true;
    await world.clock.advance(20_000);
    expect((await world.cache.of("a")).maxStreams).toBe(1);
    expect(await world.cache.of("b")).toEqual(noLimits);
    expect(world.failures.length).toBeGreaterThan(1);
    world.away = false;
    world.hold = new Promise(() => {});
    const silent = world.cache.of("c");
    await world.clock.advance(1000);
    expect(await silent).toEqual(noLimits);
  });
});

describe("readers", () => {
  /** Instances over one table. */
  function world(most: number) {
    const rows = new Map<string, number>();
    const state = { most, calls: 0, away: false };
    const clock = new ManualClock();
    const instance = (name: string) =>
      new Readers({
        clock,
        counts: createCounts(),
        limits: { of: () => Promise.resolve({ ...noLimits, maxStreams: state.most }) },
        onFailure: () => {},
        store: {
          async take(_tenant, held, wanted, limit) {
            state.calls++;
            await settled();
            if (state.away) throw new Error("away");
            const others = [...rows].reduce((sum, [other, open]) => sum + (other === name ? 0 : open), 0);
            const granted = Math.max(held, Math.min(wanted, limit - others));
            rows.set(name, granted);
            return granted;
          },
        },
      });
    return { rows, state, clock, instance };
  }

  test("two instances stay within the limit together, and what ends is free everywhere", async () => {
    const { rows, instance } = world(3);
    const [here, there] = [instance("here"), instance("there")];
    const results = await Promise.allSettled(
      Array.from({ length: 10 }, (_, n) => (n % 2 === 0 ? here : there).take("a")),
    );
    const open = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    expect(open).toHaveLength(3);
    expect([...rows.values()].reduce((sum, n) => sum + n)).toBe(3);
    for (const result of results) {
      if (result.status === "fulfilled") continue;
      expect(result.reason).toBeInstanceOf(DomainError);
      expect(result.reason).toMatchObject({ code: "resource_exhausted", retryAfterMs: 1000 });
    }
    for (const giveBack of open) for (let twice = 0; twice < 2; twice++) giveBack();
    await Promise.all([here.close(), there.close()]);
    expect([...rows.values()]).toEqual([0, 0]);
    const all = await Promise.all([there.take("a"), there.take("a"), there.take("a")]);
    expect(all).toHaveLength(3);
  });

  test("a tenant without a limit asks nobody; one that comes counts what is open, and takes nothing away", async () => {
    const { rows, state, clock, instance } = world(0);
    const here = instance("here");
    const open = await Promise.all([here.take("a"), here.take("a")]);
    expect(state.calls).toBe(0);
    state.most = 1;
    await expect(here.take("a")).rejects.toThrow("max_streams");
    expect(rows.get("here")).toBe(2);
    state.most = 0;
    open.push(await here.take("a"));
    state.most = 4;
    await clock.advance(10_000);
    expect(rows.get("here")).toBe(3);
    for (const giveBack of open) giveBack();
    await settled();
    await here.close();
    expect(rows.get("here")).toBe(0);
  });

  test("while the database is away nothing opens, and what ended meanwhile is noted later", async () => {
    const { rows, state, clock, instance } = world(2);
    const here = instance("here");
    const giveBack = await here.take("a");
    state.away = true;
    await expect(here.take("a")).rejects.toThrow("away");
    giveBack();
    await settled();
    state.away = false;
    await clock.advance(10_000);
    expect(rows.get("here")).toBe(0);
    await expect(here.take("a")).resolves.toBeTypeOf("function");
  });
});
