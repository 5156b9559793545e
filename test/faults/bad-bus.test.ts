/**
 * Three instances whose bus loses, doubles, delays and reorders most of what they say: readers of all of them, over Connect
 * and SSE, are complete and in order all the same, and end when their scope has ended.
 */
import { describe, expect, test } from "vitest";
import { WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { createMemoryBus } from "../../server/bus/memory-bus.ts";
import type { Bus } from "../../server/core/ports.ts";
import type { RunningServer } from "../../server/main.ts";
import { sse } from "../api/sse-client.ts";
import { follow } from "../api/subscription.ts";
import { newWorkflow, publish, readAll, repeat, token } from "../api/trees.ts";
import { badBus } from "../support/bad-bus.ts";
import { startInstance, stopInstance } from "../support/instances.ts";
import { Random, seeds } from "../support/random.ts";
import { type Clients, createClients, useServer } from "../support/server.ts";
import { setVariable, Watching } from "../support/variable-call.ts";
import { Watching as WatchingWorkflows } from "../watch/watching.ts";

/** Its database and tenants are shared. */
const server = useServer();
const full = process.env["TRIBUTARY_TEST_FULL"] !== undefined;
const rounds = full ? 600 : 120;

describe.each(seeds(full ? 5 : 1))("with seed %i", (seed) => {
  test(`readers are complete and in order on a bad bus (repeat it with TRIBUTARY_SEED=${seed})`, {
    timeout: 180_000,
  }, async () => {
    const random = new Random(seed);
    const memory = createMemoryBus();
    const bus = badBus(memory, random);
    const instances: RunningServer[] = [];
    for (let i = 0; i < 3; i++) instances.push(await startInstance(server.database.url, {}, bus));
    const clients = instances.map(({ url }) => createClients(url, server.acme.key));
    const any = (): Clients => random.pick(clients);
    try {
      const root = await newWorkflow(any());
      const workflows = [root];
      await using stack = new AsyncDisposableStack();
      const trees = clients.map((reader) =>
        stack.use(follow((call) => reader.streams.streamWorkflowConsolidated({ workflowId: root }, call))),
      );
      const browsers = await Promise.all(
        clients.map(async ({ url, key }) =>
          stack.use(
            await sse(`${url}/api/tenants/acme/stream/workflows/${root}/consolidated`, {
              headers: { authorization: `Bearer ${key}` },
            }),
          ),
        ),
      );
      const watch = stack.use(new Watching(any(), { workflowId: root }));
      await watch.open();
      const late = [];
      for (let round = 0; round < rounds; round++) {
        const workflowId = random.pick(workflows);
        const dice = random.next();
        if (dice < 0.1) workflows.push(await newWorkflow(any(), workflowId));
        else if (dice < 0.2) await setVariable(any(), root, "x", round);
        else
          await publish(
            any(),
            repeat(1 + random.below(30), (i) => token(workflowId, `${round}.${i}`)),
          );
        if (random.chance(0.05)) {
          const [reader, scope] = [any(), random.pick(workflows)];
          const subscription = follow((call) => reader.streams.streamWorkflow({ workflowId: scope }, call));
          late.push({ scope, subscription: stack.use(subscription) });
        }
      }
      await any().workflows.closeWorkflow({
        workflowId: root,
        status: WorkflowStatus.COMPLETED,
        closeDescendants: true,
      });
      const stored = await readAll(any(), root);
      const offsets = stored.map(({ offset }) => Number(offset));
      expect(offsets).toEqual(repeat(stored.length, (i) => i + 1));
      for (const reader of trees) {
        await reader.end(20_000);
        expect(reader.events).toEqual(stored);
      }
      for (const browser of browsers) {
        await browser.end();
        expect(browser.ids).toEqual(offsets);
      }
      for (const { scope, subscription } of late) {
        await subscription.end(20_000);
        expect(subscription.events).toEqual(stored.filter(({ workflowId }) => workflowId === scope));
      }
      await watch.until(() => expect(watch.cases.at(-1)).toBe("ended"));
      const versions = watch.updates.map(({ variable }) => Number(variable?.version));
      expect(versions).toEqual(repeat(versions.length, (i) => i + 1));
      for (const times of Object.values(bus.fates)) expect(times).toBeGreaterThan(0);
      await stack.disposeAsync();
    } finally {
      await Promise.all(instances.map(stopInstance));
      await memory.close();
    }
  });
});

test("when the bus is back, tails and registries are looked at at once", async () => {
  const memory = createMemoryBus();
  let restored = () => {};
  const deaf: Bus = {
    ...memory,
    publish: () => {},
    signal: () => {},
    onRestored(listener) {
      restored = listener;
      return () => {};
    },
  };
  const instance = await startInstance(server.database.url, {}, deaf);
  const clients = createClients(instance.url, server.acme.key);
  try {
    const root = await newWorkflow(clients);
    await using reader = follow((call) =>
      clients.streams.streamWorkflowConsolidated({ workflowId: root }, call),
    );
    await using registry = new WatchingWorkflows(clients.workflows);
    await Promise.all([reader.open(), registry.live()]);
    const startMs = performance.now();
    // By the checks alone each of these would take about a second.
    for (let i = 0; i < 10; i++) {
      await publish(clients, [token(root, `${i}`)]);
      restored();
      await reader.until(() => expect(reader.texts.at(-1)).toBe(`${i}`));
      const workflowId = await newWorkflow(clients);
      restored();
      await registry.until(() => expect(registry.ids).toContain(workflowId));
    }
    expect(performance.now() - startMs).toBeLessThan(6000);
  } finally {
    await stopInstance(instance);
    await memory.close();
  }
});
