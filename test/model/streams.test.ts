/**
 * Every reader gets every event of its scope and filter, once, in order, or a declared gap; and its end exactly when the
 * scope has ended. On a bus that loses, doubles and reorders notices, with a window far too small.
 */
import { describe, expect, test } from "vitest";
import type { Bus, Notice } from "../../server/core/ports.ts";
import { ReplayWindow } from "../../server/core/replay-window.ts";
import { type CoreOptions, CoreServer } from "../support/core-server.ts";
import { useDatabase } from "../support/database.ts";
import { isFull, Random, seeds } from "../support/random.ts";
import { World } from "./world.ts";

const database = useDatabase();

/** A bus as bad as the port allows. */
const badBus =
  (random: Random) =>
  (bus: Bus): Bus => {
    let late: Notice | undefined;
    return {
      ...bus,
      publish(notice) {
        const dice = random.next();
        if (dice < 0.1) return; // lost
        if (dice < 0.2) {
          late = notice; // late, hence out of order
          return;
        }
        bus.publish(dice < 0.4 ? { ...notice, entries: undefined } : notice);
        if (dice > 0.9) bus.publish(notice); // doubled
        if (late !== undefined) bus.publish(late);
        late = undefined;
      },
    };
  };

async function play(
  seed: number,
  steps: number,
  options: CoreOptions = {},
  patienceMs = 20_000,
): Promise<string[]> {
  const random = new Random(seed);
  const server = new CoreServer(database.url, {
    hub: { tailCheckIntervalMs: 50, window: { entries: 64, bytes: 20_000 }, windowsBytes: 20_000 },
    wrapBus: badBus(random),
    ...options,
  });
  const world = new World(server, database.pool, random);
  try {
    for (let step = 0; step < steps; step++) await world.step();
    await world.finish(patienceMs);
    return await world.problems();
  } finally {
    await server.close();
  }
}

describe.each(seeds(isFull ? 30 : 3))("with seed %i", (seed) => {
  test(`a random life of trees and readers (repeat it with TRIBUTARY_SEED=${seed})`, {
    timeout: 120_000,
  }, async () => {
    expect(await play(seed, isFull ? 1500 : 600)).toEqual([]);
  });
});

describe("the model notices", () => {
  test("a tail check that does not check, which is all that heals a bus that is silent", async () => {
    const wrapBus = (bus: Bus): Bus => ({ ...bus, publish: () => {} });
    expect(await play(1, 150, { wrapBus })).toEqual([]);
    const problems = await play(
      1,
      150,
      {
        hub: { tailCheckIntervalMs: 3_600_000, window: { entries: 64, bytes: 20_000 } },
        wrapBus,
      },
      1000,
    );
    expect(problems.length).toBeGreaterThan(0);
  });

  test("a window that gives a wrong entry", async () => {
    const { push } = ReplayWindow.prototype;
    let count = 0;
    ReplayWindow.prototype.push = function (event) {
      push.call(this, ++count % 40 === 0 ? { ...event, payload: "another" } : event);
    };
    try {
      await expectNoticed({ wrapBus: (bus) => bus });
    } finally {
      ReplayWindow.prototype.push = push;
    }
  });

  test("entries that are taken over a hole", async () => {
    await expectNoticed({ wrapBus: closingHoles });
  });
});

/** One short life may happen to have no reader in the window at the wrong moment; ten do not. */
async function expectNoticed(options: CoreOptions): Promise<void> {
  for (let seed = 1; seed <= 10; seed++) {
    if ((await play(seed, 300, options, 3000)).length > 0) return;
  }
  expect.unreachable("ten lives of a broken core, and the model noticed nothing");
}

/** Loses notices and then makes the next one look as if it continued: what a hub would do that does not look for holes. */
function closingHoles(bus: Bus): Bus {
  const seen = new Map<string, number>();
  let count = 0;
  return {
    ...bus,
    publish(notice) {
      const tail = seen.get(notice.streamId) ?? notice.from - 1;
      if (++count % 3 === 0 && notice.entries !== undefined) return;
      seen.set(notice.streamId, tail + (notice.to - notice.from + 1));
      const shift = tail + 1 - notice.from;
      bus.publish({
        ...notice,
        from: notice.from + shift,
        to: notice.to + shift,
        entries: notice.entries?.map((event) => ({ ...event, offset: event.offset + shift })),
      });
    },
  };
}
