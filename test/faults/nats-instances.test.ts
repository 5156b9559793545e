/**
 * Two instances over one Postgres and one NATS: what is written at one is read at the other at once; while NATS is away
 * the same, slower, and said so; when it is back, at once again.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { SystemEventType } from "../../gen/tributary/v1/admin_service_pb.ts";
import { WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import type { RunningServer } from "../../server/main.ts";
import { sse } from "../api/sse-client.ts";
import { follow, type Subscription } from "../api/subscription.ts";
import { newWorkflow, publish, repeat, token } from "../api/trees.ts";
import { describeWith } from "../support/describe-with.ts";
import { readyOf, startInstance, stopInstance } from "../support/instances.ts";
import { natsServer, startNats, type TestNats } from "../support/nats.ts";
import { adminKey, type Clients, createClients, useServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { setVariable, Watching as WatchingVariables } from "../support/variable-call.ts";
import { Listening } from "../watch/listening.ts";
import { Watching } from "../watch/watching.ts";

/** Its database and tenants are shared. */
const server = useServer();

describeWith(natsServer, "two instances with NATS", () => {
  let nats: TestNats;
  const instances: RunningServer[] = [];
  let here: Clients;
  let there: Clients;

  const start = async (): Promise<RunningServer> => {
    const instance = await startInstance(server.database.url, { NATS_URL: nats.url });
    instances.push(instance);
    return instance;
  };

  beforeAll(async () => {
    nats = await startNats();
    here = createClients((await start()).url, server.acme.key);
    there = createClients((await start()).url, server.acme.key);
  });
  afterAll(async () => {
    await Promise.all(instances.map(stopInstance));
    await nats.stop();
  });

  const tree = ({ streams }: Clients, workflowId: string): Subscription =>
    follow((call) => streams.streamWorkflowConsolidated({ workflowId }, call));

  const finish = ({ workflows }: Clients, workflowId: string) =>
    workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED, closeDescendants: true });

  /**
   * The median time from an acknowledgement at one to a reader of the other, ms. Each event is sent when the one before
   * has come; so with the tail check alone each takes about a second.
   */
  async function medianDelay(rounds: number): Promise<number> {
    const workflowId = await newWorkflow(here);
    await using reader = tree(there, workflowId);
    await reader.open();
    const delays: number[] = [];
    for (let i = 0; i < rounds; i++) {
      await publish(here, [token(workflowId, `${i}`)]);
      const durableMs = performance.now();
      await reader.until(() => expect(reader.texts.at(-1)).toBe(`${i}`));
      delays.push(performance.now() - durableMs);
    }
    await finish(here, workflowId);
    await reader.end();
    return delays.toSorted((a, b) => a - b)[delays.length >> 1] as number;
  }
  const fastMs = 300;

  test("what is published at one is read at the other at once, by Connect and by SSE, and so are children of either", async () => {
    expect(await medianDelay(15)).toBeLessThan(fastMs);
    const root = await newWorkflow(here);
    await using reader = tree(there, root);
    await using browser = await sse(`${there.url}/api/tenants/acme/stream/workflows/${root}/consolidated`, {
      headers: { authorization: `Bearer ${there.key}` },
    });
    await reader.open();
    for (const [i, clients] of [here, there, here, there].entries()) {
      const child = await newWorkflow(clients, root);
      const grandchild = await newWorkflow(clients === here ? there : here, child);
      await publish(
        here,
        repeat(50, (n) => token(child, `${i} child ${n}`)),
      );
      await publish(
        there,
        repeat(50, (n) => token(grandchild, `${i} grandchild ${n}`)),
      );
      await publish(here, [token(grandchild, `${i} last`)], { batch: 1 });
    }
    await finish(there, root);
    await reader.end();
    await browser.end();
    const last = Number(reader.ended?.finalOffset);
    expect(reader.offsets).toEqual(repeat(last, (n) => n + 1));
    expect(browser.ids).toEqual(reader.offsets);
    expect(reader.texts.filter((text) => / (grand)?child | last/.test(text))).toHaveLength(4 * 101);
  });

  test("variables, the registry and system events of one are seen at the other", async () => {
    await using registry = new Watching(there.workflows);
    await using events = new Listening(createClients(there.url, adminKey));
    await Promise.all([registry.live(), events.live()]);
    const root = await newWorkflow(here);
    await using watch = new WatchingVariables(there, { workflowId: root });
    await watch.open();
    for (let i = 1; i <= 5; i++) await setVariable(here, root, "x", i);
    await watch.until(() => expect(watch.shown.at(-1)).toBe("set x=5 v5"));
    expect(watch.shown).toEqual(repeat(5, (i) => `set x=${i + 1} v${i + 1}`));
    await finish(here, root);
    await registry.until(() => expect(registry.known.get(root)?.status).toBe(WorkflowStatus.COMPLETED));
    const third = await start();
    await stopInstance(third);
    instances.splice(instances.indexOf(third), 1);
    await events.until(() => {
      expect(events.types()).toContain(SystemEventType.STARTUP);
      expect(events.types()).toContain(SystemEventType.SHUTDOWN);
    });
  });

  test("NATS goes away in the middle: readers go on, slower, and it is told; back again, all is as it was", {
    timeout: 60_000,
  }, async () => {
    const admin = createClients(there.url, adminKey);
    await using health = new Listening(admin, { types: [SystemEventType.HEALTH_CHANGED] });
    await health.live();
    const root = await newWorkflow(here);
    await using reader = tree(there, root);
    await using registry = new Watching(there.workflows);
    await Promise.all([reader.open(), registry.live()]);
    let told = (): (string | undefined)[] => [];
    let stopped = false;
    let written = 0;
    const writing = (async () => {
      for (; !stopped; written++) {
        await publish(written % 2 === 0 ? here : there, [token(root, `${written}`)]);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    })();
    try {
      await reader.until(() => expect(reader.events.length).toBeGreaterThan(20));
      await nats.kill();
      for (const instance of instances)
        await until(async () => expect(await readyOf(instance)).toBe("200 degraded: bus"));
      const { status, instanceId } = await admin.admin.getStats({});
      expect(status).toBe("degraded: bus");
      told = () =>
        health.events
          .filter((event) => event.instanceId === instanceId)
          .map(({ metadata }) => metadata["status"]);
      const late = await newWorkflow(here, root); // registered while nobody is told
      await registry.until(() => expect(registry.ids).toContain(late));
      const written1 = written;
      await reader.until(() => expect(reader.events.length).toBeGreaterThan(written1 + 30));
      // A new instance starts without NATS, and new readers are served.
      const third = await start();
      expect(await readyOf(third)).toBe("200 degraded: bus");
      await using other = tree(createClients(third.url, here.key), root);
      await other.until(() => expect(other.events.length).toBeGreaterThan(written1));
      await nats.start();
      for (const instance of instances)
        await until(async () => expect(await readyOf(instance)).toBe("200 ready"));
      await other[Symbol.asyncDispose]();
      await stopInstance(third);
      instances.splice(instances.indexOf(third), 1);
    } finally {
      stopped = true;
      await writing;
    }
    await finish(here, root);
    await reader.end(15_000);
    const tokens = reader.texts.filter((text) => /^\d+$/.test(text));
    expect(tokens).toEqual(repeat(written, (i) => `${i}`));
    expect(reader.offsets).toEqual(repeat(Number(reader.ended?.finalOffset), (n) => n + 1));
    await health.until(() => expect(told()).toEqual(["degraded: bus", "healthy"]));
    expect(await medianDelay(15)).toBeLessThan(fastMs);
  });

  test("readers of the instance that writes lose no time while NATS is away", async () => {
    const workflowId = await newWorkflow(here);
    await using reader = tree(here, workflowId);
    await reader.open();
    await nats.kill();
    await until(async () => expect(await readyOf(instances[0] as RunningServer)).toBe("200 degraded: bus"));
    const startMs = performance.now();
    for (let i = 0; i < 20; i++) {
      await publish(here, [token(workflowId, `${i}`)]);
      await reader.until(() => expect(reader.texts.at(-1)).toBe(`${i}`));
    }
    expect(performance.now() - startMs).toBeLessThan(5000);
    await nats.start();
    await finish(here, workflowId);
    await reader.end();
    for (const instance of instances)
      await until(async () => expect(await readyOf(instance)).toBe("200 ready"));
  });

  test("NATS falls silent: new readers wait a second at most, and all goes on", {
    timeout: 40_000,
  }, async () => {
    const root = await newWorkflow(here);
    await publish(here, [token(root, "before")]);
    await nats.pause();
    try {
      const startMs = performance.now();
      await using reader = tree(there, root);
      await reader.open();
      expect(performance.now() - startMs).toBeLessThan(3000);
      await publish(here, [token(root, "while silent")]);
      await reader.until(() => expect(reader.texts.at(-1)).toBe("while silent"));
      await until(async () => expect(await readyOf(instances[0] as RunningServer)).toBe("200 degraded: bus"));
    } finally {
      nats.resume();
    }
    for (const instance of instances)
      await until(async () => expect(await readyOf(instance)).toBe("200 ready"), 20_000);
    expect(await medianDelay(7)).toBeLessThan(fastMs);
  });
});
