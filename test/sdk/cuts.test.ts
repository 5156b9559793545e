/** What the SDK is for: whoever writes or reads through a bad network has no code for it, and nothing is lost or doubled. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTributaryClient, type TributaryClient } from "../../client/index.ts";
import { newWorkflow, readAll } from "../api/trees.ts";
import { type CuttingProxy, openProxy } from "../client/cutting-proxy.ts";
import { Random, seeds } from "../support/random.ts";
import { useServer } from "../support/server.ts";

const server = useServer();
const [seed = 1] = seeds(1);
const full = process.env["TRIBUTARY_TEST_FULL"] !== undefined;
const count = full ? 100_000 : 10_000;
const cuts = full ? 1000 : 100;
/** Short waits: what is tried here is what comes after them. */
const resilience = { backoff: { firstMs: 10, longestMs: 100 }, breaker: { halfOpenAfterMs: 50 } };
let direct: TributaryClient;

beforeAll(() => {
  direct = createTributaryClient({ baseUrl: server.url, credential: server.acme.key });
});
afterAll(() => direct.close());

/** Cuts in the middle of whatever goes through, each time in another way and after another while. */
async function cutOften(proxy: CuttingProxy, random: Random, most: number): Promise<void> {
  for (let cut = 0; cut < cuts; cut++) {
    await proxy.cutAfter(1 + random.below(most), random.pick(["reset", "end", "destroy"] as const));
  }
}

const timeoutMs = full ? 600_000 : 60_000;
const numbers = Array.from({ length: count }, (_, i) => String(i));

test(
  `a consumer sees each of ${count} events once and in order, through ${cuts} cuts (seed ${seed})`,
  async () => {
    const workflowId = await newWorkflow(server.acme);
    await using proxy = await openProxy(server.url);
    const client = createTributaryClient({ baseUrl: proxy.url, credential: server.acme.key, resilience });
    const stream = client.follow(workflowId);
    let allCut = false;
    const cutting = cutOften(proxy, new Random(seed), (100 * count) / cuts).then(() => {
      allCut = true;
    });
    const session = direct.openSession({ workflowId });
    const writing = (async () => {
      for (const [at, text] of numbers.entries()) {
        // Live, not history: messages stay small, so that a connection brings some of them before it is cut.
        while (!allCut && at > Number(stream.position) + 200) await new Promise((next) => setImmediate(next));
        await session.task("t").token(text);
      }
      await session.task("t").completed();
      await session.close();
      await direct.workflows.closeWorkflow({ workflowId, status: 2 });
    })();

    const seen: unknown[] = [];
    const offsets: bigint[] = [];
    for await (const event of stream.values()) {
      seen.push(event.payload.value);
      offsets.push(event.offset);
    }

    await writing;
    expect(seen.slice(1, -2)).toEqual(numbers);
    expect(offsets).toEqual(offsets.map((_, at) => BigInt(at + 1)));
    expect(stream.state).toBe("closed");
    client.close();
    await cutting;
    expect(proxy.accepted).toBeGreaterThan(cuts);
  },
  timeoutMs,
);

test(
  `a producer stores each of ${count} events once and in order, through ${cuts} cuts (seed ${seed})`,
  async () => {
    const workflowId = await newWorkflow(server.acme);
    await using proxy = await openProxy(server.url);
    const client = createTributaryClient({ baseUrl: proxy.url, credential: server.acme.key, resilience });
    const cutting = cutOften(proxy, new Random(seed + 1), (25 * count) / cuts);

    const session = client.openSession({ workflowId, maxBatch: 50, maxEntries: 200 });
    const task = session.task("t");
    for (const text of numbers) await task.token(text);
    await session.close();

    await cutting;
    client.close();
    const [, ...events] = await readAll(server.acme, workflowId);
    expect(events.map(({ payload }) => payload.value)).toEqual(numbers);
    expect(new Set(events.map(({ producerId }) => producerId)).size).toBe(1);
    expect(events.at(-1)?.sequence).toBe(BigInt(count));
    expect(proxy.accepted).toBeGreaterThan(cuts);
  },
  timeoutMs,
);
