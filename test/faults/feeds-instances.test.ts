/**
 * Two instances over one Postgres, with a bus that both share, and with one that loses every signal: the feeds are right
 * without signals, only slower.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SystemEventType } from "../../gen/tributary/v1/admin_service_pb.ts";
import { WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { createMemoryBus } from "../../server/bus/memory-bus.ts";
import { readConfig } from "../../server/config.ts";
import type { Bus } from "../../server/core/ports.ts";
import { type RunningServer, startServer } from "../../server/main.ts";
import { newFamily, newWorkflow } from "../api/trees.ts";
import { adminKey, type Clients, createClients, createTenant, useServer } from "../support/server.ts";
import { openSession } from "../support/session-call.ts";
import { until } from "../support/until.ts";
import { Listening } from "../watch/listening.ts";
import { Watching } from "../watch/watching.ts";

/** Its database is shared. */
const server = useServer();

const startOn = (bus: Bus): Promise<RunningServer> =>
  startServer(
    readConfig({
      DATABASE_URL: server.database.url,
      PORT: "0",
      TRIBUTARY_ADMIN_KEY: adminKey,
      LOG_LEVEL: "error",
      POOL_SIZE: "5",
    }),
    { bus },
  );

async function stop(instance: RunningServer): Promise<void> {
  await until(() => expect(instance.gauges()).toEqual({ openCalls: 0, liveStreams: 0, waitingCommands: 0 }));
  await instance.close();
}

describe.each(["shared", "deaf"])(
  "a registry watched at one instance and changed at another, bus %s",
  (kind) => {
    const memory = createMemoryBus();
    let signals = 0;
    const bus: Bus =
      kind === "shared"
        ? {
            ...memory,
            signal(topic, body) {
              signals++;
              memory.signal(topic, body);
            },
          }
        : { ...memory, signal: () => void signals++ };
    const instances: RunningServer[] = [];
    let here: Clients;
    let there: Clients;

    beforeAll(async () => {
      instances.push(await startOn(bus), await startOn(bus));
      const admin = createClients(instances[0]?.url ?? "", adminKey);
      here = await createTenant(admin, `feeds-${kind}`);
      there = createClients(instances[1]?.url ?? "", here.key);
    });
    afterAll(async () => {
      await Promise.all(instances.map(stop));
      await memory.close();
    });

    test("every change is told, and a deletion", { timeout: 30_000 }, async () => {
      await using watch = new Watching(here.workflows);
      await watch.live();
      signals = 0;
      const { root, child, grandchild, sibling } = await newFamily(there);
      await watch.until(() => {
        expect(watch.ids.toSorted()).toEqual([root, child, grandchild, sibling].toSorted());
        expect(watch.known.get(root)?.openInSubtree).toBe(4);
      });
      await there.workflows.requestCancel({ workflowId: child });
      await watch.until(() => expect(watch.known.get(child)?.cancelRequestedMs).toBeGreaterThan(0n));
      await there.workflows.closeWorkflow({
        workflowId: root,
        status: WorkflowStatus.FAILED,
        closeDescendants: true,
      });
      await watch.until(() => expect(watch.known.get(root)?.status).toBe(WorkflowStatus.FAILED));
      await there.workflows.deleteWorkflowTree({ workflowId: root });
      await watch.until(() => expect(watch.ids).toEqual([]));
      expect(signals).toBeGreaterThanOrEqual(7);
    });

    test("a watch that comes while others change misses nothing", { timeout: 60_000 }, async () => {
      const made: string[] = [];
      let stopped = false;
      const making = (async () => {
        while (!stopped) made.push(await newWorkflow(there));
      })();
      try {
        for (let i = 0; i < 10; i++) {
          const before = made.length;
          await using watch = new Watching(here.workflows, { snapshotSize: 100 });
          await watch.live();
          const soFar = made.length;
          await watch.until(() => expect(made.length).toBeGreaterThan(soFar + 5));
          const due = made.slice(before);
          await watch.until(() => expect(due.filter((id) => !watch.known.has(id))).toEqual([]));
        }
      } finally {
        stopped = true;
        await making;
      }
    });
  },
);

describe("system events", () => {
  test("of one instance are told at the others: its start, a tenant's session, its drain", async () => {
    const bus = createMemoryBus();
    const first = await startOn(bus);
    const admin = createClients(first.url, adminKey);
    const tenant = await createTenant(admin, "events-here");
    const other = await createTenant(admin, "events-other");
    await using all = new Listening(admin);
    await using own = new Listening(tenant);
    await using foreign = new Listening(other);
    await Promise.all([all.live(), own.live(), foreign.live()]);
    const second = await startOn(bus);
    const workflowId = await newWorkflow(tenant);
    const call = await openSession(createClients(second.url, tenant.key), workflowId);
    const { sessionId } = await call.opened();
    call.say("close", { drain: true });
    await call.ended;
    await stop(second);
    const expected = [
      SystemEventType.STARTUP,
      SystemEventType.SESSION_ATTACHED,
      SystemEventType.SESSION_CLOSED,
      SystemEventType.SHUTDOWN,
      SystemEventType.HEALTH_CHANGED,
    ];
    await all.until(() => expect(all.types()).toEqual(expected));
    const ids = new Set(all.events.map(({ instanceId }) => instanceId));
    expect(ids.size).toBe(1);
    await own.until(() =>
      expect(own.types()).toEqual([SystemEventType.SESSION_ATTACHED, SystemEventType.SESSION_CLOSED]),
    );
    expect(own.events).toEqual(all.events.slice(1, 3));
    expect(own.events[0]?.metadata).toEqual({
      tenant: "events-here",
      session_id: sessionId,
      workflow_id: workflowId,
    });
    expect(foreign.events).toEqual([]);
    for (const listening of [all, own, foreign]) await listening[Symbol.asyncDispose]();
    await stop(first);
    await bus.close();
  });
});
