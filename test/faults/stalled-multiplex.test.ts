/**
 * A client of 500 labels that stops reading while 100 MB are published to them: what the server holds for it is bounded, and
 * it gets everything. The heap is measured after a collection; the client, in the same process, holds what one connection
 * buffers.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import { limits } from "../../server/core/limits.ts";
import { newWorkflow, repeat } from "../api/trees.ts";
import { someOf } from "../support/random.ts";
import { createClients, useServer } from "../support/server.ts";
import { until } from "../support/until.ts";

const MiB = 1024 * 1024;
const labels = 500;
const rounds = 10;
const payload = "x".repeat(20_000);
const server = useServer();

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** What is in use once nothing more can be let go, MiB. */
async function used(): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 5; i++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    collect();
    const { heapUsed, external } = process.memoryUsage();
    least = Math.min(least, (heapUsed + external) / MiB);
  }
  return least;
}

const shapes = [
  // The window of one stream, eight messages, what the connection takes.
  ["one tree", 20],
  // As above, and what the windows of all streams may hold.
  ["500 trees", 20 + limits.windowsBytes / MiB],
] as const;

test.each(someOf(shapes, 1))(
  "500 labels of %s that a client does not read cost at most %i MiB, and it misses nothing",
  { timeout: 180_000 },
  async (shape, most) => {
    const root = await newWorkflow(server.acme);
    const ids: string[] = [];
    for (let i = 0; i < labels; i++)
      ids.push(await newWorkflow(server.acme, shape === "one tree" ? root : ""));
    await publish(ids, 1);
    const before = await used();
    const abort = new AbortController();
    // A connection of its own, so that the publisher does not share its flow control.
    const { streams } = createClients(server.url, server.acme.key);
    const start = { case: "latest", value: true } as const;
    const targets = ids.map((workflowId) => ({ label: workflowId, workflowId, options: { start } }));
    const answers = streams.streamMany({ targets }, { signal: abort.signal })[Symbol.asyncIterator]();
    for (let i = 0; i < labels; i++) await answers.next();
    const idle = await used();
    await publish(ids, rounds);
    const stalled = await used();
    console.log(
      `${shape}: ${labels} idle labels ${(idle - before).toFixed(1)} MiB, stalled for 100 MB ${(stalled - idle).toFixed(1)} MiB more`,
    );
    expect(idle - before).toBeLessThan(10);
    expect(stalled - idle).toBeLessThan(most);

    const got = new Map<string, number[]>(ids.map((id) => [id, []]));
    for (let count = 0; count < labels * rounds; ) {
      const { value } = await answers.next();
      if (value?.result.case !== "message" || value.result.value.message.case !== "events") continue;
      for (const { sequence } of value.result.value.message.value.events) {
        got.get(value.label)?.push(Number(sequence));
        count++;
      }
    }
    expect([...got.values()]).toEqual(ids.map(() => repeat(rounds, (i) => i + 1)));
    abort.abort();
    await answers.next().catch(() => {});
    await until(() => expect(server.server.gauges()).toMatchObject({ openCalls: 0, liveStreams: 0 }));
  },
);

/** In so many rounds one event to each; those of the last call are numbered by their rounds. */
async function publish(ids: readonly string[], count: number): Promise<void> {
  const messages = async function* () {
    for (let round = 1; round <= count; round++) {
      for (let at = 0; at < ids.length; at += 50) {
        yield {
          producerId: `p${count}`,
          events: ids.slice(at, at + 50).map((workflowId) => ({
            workflowId,
            taskExecutionId: "t",
            sequence: BigInt(round),
            type: EventType.DATA,
            payload: { case: "text", value: payload } as const,
          })),
        };
      }
    }
  };
  await server.acme.tasks.publishTaskEvents(messages());
}
