/**
 * A crowd that joins a long stream, each reader with its own delays, while others follow it live: all get each event once and in
 * order, the store is asked for each page a few times and not once a reader, and pages go out one by one.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { createMemoryBus } from "../../server/bus/memory-bus.ts";
import { systemClock } from "../../server/core/clock.ts";
import { follow } from "../../server/core/follow.ts";
import { defaultHubOptions, Hub } from "../../server/core/hub.ts";
import { Traffic } from "../../server/core/traffic.ts";
import { createPgEventStore, type PgEventStore } from "../../server/store/pg-event-store.ts";
import { anEvent, create, entries } from "../support/commands.ts";
import { readAll } from "../support/core-server.ts";
import { newId, useDatabase } from "../support/database.ts";
import { FakeCall } from "../support/fake-stream.ts";
import { Random, seeds } from "../support/random.ts";

const database = useDatabase();
let store: PgEventStore;
beforeAll(() => {
  const limits = { poolSize: 4, connectTimeoutMs: 5000, statementTimeoutMs: 10_000, onError: () => {} };
  store = createPgEventStore({ ...limits, url: database.url, commitConnections: 1 });
});
afterAll(() => store.close());

const pageEntries = 10;
const storedEvents = 300;
const liveEvents = 40;
const all = 1 + storedEvents + liveEvents;
const crowd = 20;
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

test.each(seeds(3))(
  "each reader of a crowd gets everything, and each page is read a few times, seed %i",
  async (seed) => {
    const random = new Random(seed);
    const [streamId, workflowId] = [newId(), newId()];
    const someEvents = (count: number) =>
      entries(
        streamId,
        Array.from({ length: count }, () => anEvent({ workflowId })),
      );
    await store.append(0, [create(streamId, { workflowId })]);
    await store.append(0, [someEvents(storedEvents)]);
    let reads = 0;
    const readPage: PgEventStore["readPage"] = (request) => {
      reads++;
      return store.readPage({ ...request, limit: Math.min(request.limit, pageEntries) });
    };
    const bus = createMemoryBus();
    const hub = new Hub(
      {
        store: { ...store, readPage },
        bus,
        clock: systemClock,
        traffic: new Traffic(),
        onFailure: (message, error) => {
          throw new Error(message, { cause: error });
        },
      },
      { ...defaultHubOptions, window: { entries: 100, bytes: 1_000_000 } },
    );
    let turns = 0;
    const pagesInTurn = new Map<number, number>();
    const ended = new AbortController();
    const counting = (async () => {
      for (; !ended.signal.aborted; turns++) await turn();
    })();
    const read = async (from: number, isSlow: boolean) => {
      const own = new AbortController();
      const request = { ...readAll, streamId, scope: { kind: "tree", workflowId }, start: from } as const;
      const seen: number[] = [];
      const messages = follow({ hub, store, clock: systemClock }, request, new FakeCall(), own.signal);
      for await (const message of messages) {
        if (message.kind !== "events") continue;
        seen.push(...message.events.map(({ offset }) => offset));
        if (isSlow && (message.events[0]?.offset ?? 0) <= storedEvents) {
          pagesInTurn.set(turns, (pagesInTurn.get(turns) ?? 0) + 1);
        }
        if (seen.at(-1) === all) break;
        if (isSlow) for (let n = random.below(4); n > 0; n--) await turn();
      }
      expect(seen).toEqual(Array.from({ length: all - from }, (_, i) => from + 1 + i));
    };
    const write = async () => {
      for (let n = 0; n < liveEvents; n++) {
        const { notices } = await store.append(0, [someEvents(1)]);
        for (const notice of notices) bus.publish(notice);
      }
    };
    const live = Array.from({ length: 3 }, () => read(storedEvents + 1, false));
    const joined = Array.from({ length: crowd }, () => read(0, true));
    await Promise.all([...live, ...joined, write()]);
    ended.abort();
    await counting;
    await hub.close();
    expect(reads).toBeLessThan((2 * storedEvents) / pageEntries);
    // One in each, and this file's count of turns may be a step before or behind.
    expect(Math.max(...pagesInTurn.values())).toBeLessThanOrEqual(2);
  },
);
