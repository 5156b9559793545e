/** What happens at the limits of a tenant, by every way in, on one instance and on two. */
import { Code, type ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import type { TenantLimits } from "../../gen/tributary/v1/admin_service_pb.ts";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { RejectionCode } from "../../gen/tributary/v1/session_pb.ts";
import { PublishTaskEventsProgressSchema } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { createMemoryBus } from "../../server/bus/memory-bus.ts";
import type { RunningServer } from "../../server/main.ts";
import { startInstance, stopInstance } from "../support/instances.ts";
import { openObserving } from "../support/memory-call.ts";
import { type Clients, createClients, createTenant, useServer } from "../support/server.ts";
import { openSession } from "../support/session-call.ts";
import { until } from "../support/until.ts";
import { setVariable } from "../support/variable-call.ts";
import { codeOf, errorOf } from "./codes.ts";
import { multiplex, streamMany } from "./multiplex-call.ts";
import { texts } from "./session-world.ts";
import { sse } from "./sse-client.ts";
import { follow, type Subscription } from "./subscription.ts";
import {
  createWorkflow,
  type Fields,
  newFamily,
  newWorkflow,
  publish,
  readAll,
  repeat,
  token,
} from "./trees.ts";

const server = useServer();
/** Two more instances that hear each other, on the same database. */
let others: readonly RunningServer[];
beforeAll(async () => {
  const bus = createMemoryBus();
  others = [
    await startInstance(server.database.url, {}, bus),
    await startInstance(server.database.url, {}, bus),
  ];
});
afterAll(async () => {
  for (const instance of others) await stopInstance(instance);
});

let tenants = 0;
async function tenantWith(limits: Fields<TenantLimits>): Promise<{ clients: Clients; slug: string }> {
  const slug = `quota-${++tenants}`;
  const clients = await createTenant(server.admin, slug);
  await setLimits(slug, limits);
  return { clients, slug };
}
const setLimits = (slug: string, limits: Fields<TenantLimits>, { admin } = server.admin) =>
  admin.updateTenant({ slug, limits });

/** As another instance serves it. */
const at = (n: number, { key }: Clients) => createClients(others[n]?.url ?? "", key);

function retryMsOf(error: ConnectError): number {
  expect(error.code).toBe(Code.ResourceExhausted);
  const [retry] = error.findDetails(RetryInfoSchema);
  return Number(retry?.retryDelay?.seconds ?? 0) * 1000 + (retry?.retryDelay?.nanos ?? 0) / 1e6;
}

const one = ({ tasks }: Clients, workflowExecutionId: string, value = "x") =>
  tasks.streamTaskData({
    workflowExecutionId,
    taskExecutionId: "t",
    type: EventType.TOKEN,
    payload: value,
    waitForDurable: true,
  });

test("the largest limits are kept and let everything pass; beyond them is refused by the field", async () => {
  const most = 2 ** 31 - 1;
  const { clients, slug } = await tenantWith({
    maxStreams: most,
    maxSessions: most,
    maxEventsPerSecond: most,
    maxBytesPerSecond: BigInt(Number.MAX_SAFE_INTEGER),
    maxOpenWorkflows: most,
  });
  const workflowId = await newWorkflow(clients);
  await openSession(clients, workflowId);
  await one(clients, workflowId);
  expect(await readAll(clients, workflowId)).toHaveLength(2);
  for (const field of ["maxStreams", "maxSessions", "maxEventsPerSecond", "maxOpenWorkflows"]) {
    const error = await errorOf(setLimits(slug, { [field]: most + 1 }));
    expect(error.code, field).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toContain(`limits.${field.replaceAll(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)}`);
  }
});

describe("the rate of writing", () => {
  /** In debt for minutes, whatever it writes next. */
  async function indebted() {
    const { clients, slug } = await tenantWith({});
    const workflowId = await newWorkflow(clients);
    await setLimits(slug, { maxEventsPerSecond: 1 });
    await publish(
      clients,
      repeat(200, (i) => token(workflowId, `${i}`)),
    );
    return { clients, slug, workflowId };
  }

  test("a call of many more events than the limit passes; then every way of writing is told to wait, and nothing of it is stored", async () => {
    const { clients, workflowId } = await indebted();
    const refusals: Record<string, () => Promise<unknown>> = {
      StreamTaskData: () => one(clients, workflowId),
      CreateWorkflow: () => createWorkflow(clients),
      CloseWorkflow: () => clients.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED }),
      RequestCancel: () => clients.workflows.requestCancel({ workflowId, reason: "" }),
      SetVariable: () => setVariable(clients, workflowId, "name", 1),
      DeleteVariable: () => clients.variables.deleteVariable({ workflowId, name: "name" }),
    };
    for (const [name, act] of Object.entries(refusals)) {
      const error = await errorOf(act());
      expect(retryMsOf(error), name).toBeGreaterThan(100_000);
      expect(error.rawMessage).toContain("max_events_per_second");
    }
    const session = await openSession(clients, workflowId);
    session.batch(1, texts(2));
    expect(await session.nth("rejected", 1)).toMatchObject({
      code: RejectionCode.RATE_LIMITED,
      final: false,
      sequence: 1n,
    });
    expect(await readAll(clients, workflowId)).toHaveLength(201);
  });

  test("another tenant is not slowed by one at its limit", async () => {
    const { clients, workflowId } = await indebted();
    const free = await tenantWith({ maxEventsPerSecond: 1000 });
    const own = await newWorkflow(free.clients);
    const flood = repeat(50, () => errorOf(one(clients, workflowId)));
    await Promise.all(repeat(50, () => one(free.clients, own)));
    for (const error of await Promise.all(flood)) expect(error.code).toBe(Code.ResourceExhausted);
  });

  test("observations count as entries", async () => {
    const { clients, slug } = await tenantWith({});
    await clients.memory.createMemorySpace({ space: "notes" });
    const call = await openObserving(clients, "notes");
    await setLimits(slug, { maxEventsPerSecond: 2 });
    call.batch(
      1,
      repeat(10, (i) => ({ content: `${i}` })),
    );
    const rejected = await until(() => {
      const [first] = call.all("rejected");
      if (first === undefined) throw new Error("nothing was rejected yet");
      return first;
    });
    expect(rejected).toMatchObject({ code: RejectionCode.RATE_LIMITED, final: false });
    expect(Number(rejected.sequence)).toBeGreaterThan(1);
  });

  test("bytes are counted too", async () => {
    const { clients, slug } = await tenantWith({});
    const workflowId = await newWorkflow(clients);
    await setLimits(slug, { maxBytesPerSecond: 10n });
    await one(clients, workflowId, "x".repeat(5000));
    const error = await errorOf(one(clients, workflowId));
    expect(retryMsOf(error)).toBeGreaterThan(100_000);
    expect(error.rawMessage).toContain("max_bytes_per_second");
  });

  test("PublishTaskEvents is slowed, not failed; a limit that is lifted lets it go on", async () => {
    const { clients, slug, workflowId } = await indebted();
    const events = repeat(5, (i) => token(workflowId, `later ${i}`));
    let answered = false;
    const call = publish(clients, events).finally(() => {
      answered = true;
    });
    await until(() => expect(server.server.gauges().openCalls).toBeGreaterThan(0));
    expect(await codeOf(one(clients, workflowId))).toBe("ResourceExhausted");
    expect(answered).toBe(false);
    await setLimits(slug, { maxEventsPerSecond: 0 });
    expect(await call).toMatchObject({ accepted: 5n });
  });

  test("a PublishTaskEvents that waits for its rate does not hold up a server that stops, and says how far it came", async () => {
    const { clients, workflowId } = await indebted();
    const instance = await startInstance(server.database.url);
    const there = createClients(instance.url, clients.key);
    await publish(
      there,
      repeat(100, (i) => token(workflowId, `${i}`)),
    );
    const error = errorOf(
      publish(
        there,
        repeat(3, (i) => token(workflowId, `${i}`)),
      ),
    );
    await until(() => expect(instance.gauges().openCalls).toBe(1));
    const begun = Date.now();
    await instance.close();
    expect(Date.now() - begun).toBeLessThan(4500);
    expect((await error).code).toBe(Code.Unavailable);
    expect((await error).findDetails(PublishTaskEventsProgressSchema)).toMatchObject([
      { accepted: 0n, failedIndex: 0n },
    ]);
  });

  test("a change counts at once where it was made, and at the others as soon as they hear of it", async () => {
    const { clients, slug } = await tenantWith({});
    const workflowId = await newWorkflow(clients);
    const [here, there] = [at(0, clients), at(1, clients)];
    for (const client of [here, there]) await one(client, workflowId);
    await setLimits(slug, { maxEventsPerSecond: 1 }, createClients(others[0]?.url ?? "", server.admin.key));
    await publish(
      here,
      repeat(100, (i) => token(workflowId, `${i}`)),
    );
    expect(await codeOf(one(here, workflowId))).toBe("ResourceExhausted");
    await publish(
      there,
      repeat(100, (i) => token(workflowId, `${i}`)),
    );
    expect(await codeOf(one(there, workflowId))).toBe("ResourceExhausted");
    // The first one has no bus in common: it looks again within 5 s.
    await publish(
      clients,
      repeat(1, () => token(workflowId, "x")),
    );
    await until(async () => {
      await Promise.all(repeat(20, () => one(clients, workflowId).catch(() => {})));
      expect(await codeOf(one(clients, workflowId))).toBe("ResourceExhausted");
    }, 8000);
  }, 20_000);
});

describe("open workflows", () => {
  test("two instances that create at once stay within the limit together; closing and deleting trees makes room", async () => {
    const { clients } = await tenantWith({ maxOpenWorkflows: 8 });
    const made = await Promise.allSettled(repeat(40, (n) => newWorkflow(at(n % 2, clients))));
    const ids = made.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    expect(ids).toHaveLength(8);
    const error = await errorOf(newWorkflow(clients));
    expect(retryMsOf(error)).toBe(5000);
    expect(error.rawMessage).toContain("8 open workflows, its limits allow 8 (max_open_workflows");
    for (const workflowId of ids.slice(0, 4)) {
      await clients.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
    }
    const { root } = await newFamily(clients);
    expect(await codeOf(newWorkflow(clients, root))).toBe("ResourceExhausted");
    await clients.workflows.closeWorkflow({
      workflowId: root,
      status: WorkflowStatus.FAILED,
      closeDescendants: true,
    });
    await clients.workflows.deleteWorkflowTree({ workflowId: root });
    await newFamily(clients);
    expect(await codeOf(newWorkflow(clients))).toBe("ResourceExhausted");
    // The same one again is not another one.
    const [workflowId = ""] = ids.slice(4);
    expect(await codeOf(clients.workflows.createWorkflow({ workflowId, name: "a workflow" }))).toBe("OK");
  });

  test("another limit counts with the next creation, wherever", async () => {
    const { clients, slug } = await tenantWith({});
    await newFamily(clients);
    await setLimits(slug, { maxOpenWorkflows: 4 });
    for (const n of [0, 1]) expect(await codeOf(newWorkflow(at(n, clients)))).toBe("ResourceExhausted");
    await setLimits(slug, { maxOpenWorkflows: 6 });
    expect(await codeOf(newWorkflow(at(0, clients)))).toBe("OK");
  });
});

describe("reading calls", () => {
  const reader = (clients: Clients, workflowId: string): Subscription =>
    follow((options) => clients.streams.streamWorkflow({ workflowId }, options));

  /** Opens one and leaves it. */
  async function opens(clients: Clients, workflowId: string): Promise<void> {
    await using one = reader(clients, workflowId);
    await one.open();
  }

  test("each kind counts while it is open, on all instances together", async () => {
    const { clients, slug } = await tenantWith({ maxStreams: 1 });
    const workflowId = await newWorkflow(clients);
    await clients.memory.createMemorySpace({ space: "notes" });
    const url = `/api/tenants/${slug}/stream/workflows/${workflowId}`;
    const headers = { authorization: `Bearer ${clients.key}` };
    const target = { workflowId };
    const kinds: Record<string, (signal: AbortSignal) => AsyncIterable<object>> = {
      streamWorkflow: (signal) => clients.streams.streamWorkflow(target, { signal }),
      streamTask: (signal) => clients.streams.streamTask({ workflowId, taskExecutionId: "t" }, { signal }),
      streamConsolidated: (signal) => clients.streams.streamWorkflowConsolidated(target, { signal }),
      streamMany: (signal) =>
        clients.streams.streamMany({ targets: [{ label: "a", ...target }] }, { signal }),
      watchVariables: (signal) => clients.variables.watchVariables(target, { signal }),
      watchWorkflows: (signal) => clients.workflows.watchWorkflows({}, { signal }),
      streamSystemEvents: (signal) => clients.admin.streamSystemEvents({}, { signal }),
      recallStream: (signal) =>
        clients.memory.recallStream(
          { space: "notes", follow: true, cue: { cue: { case: "timeRange", value: {} } } },
          { signal },
        ),
    };
    const there = at(0, clients);
    const isFree = () => until(() => opens(there, workflowId));
    for (const [name, open] of Object.entries(kinds)) {
      await isFree();
      await until(async () => {
        const leave = new AbortController();
        const messages = open(leave.signal)[Symbol.asyncIterator]();
        try {
          const { value } = await messages.next();
          expect(value, name).not.toMatchObject({ result: { case: "error" } }); // of a label
          const error = await errorOf(there.streams.streamWorkflow(target));
          expect(retryMsOf(error), name).toBe(1000);
          expect(error.rawMessage).toContain("all 1 reading calls open that its limits allow (max_streams");
        } finally {
          leave.abort();
          await messages.next().catch(() => {});
        }
      });
    }
    await isFree();
    await until(async () => {
      await using body = await sse(`${clients.url}${url}`, { headers });
      expect(body.status).toBe(200);
      await using refused = await sse(`${there.url}${url}`, { headers });
      expect(refused.status).toBe(429);
      expect(refused.headers["retry-after"]).toBe("1");
      expect(refused.headers["content-type"]).toContain("json");
    });
    await isFree();
  });

  test("what is wrong with the call comes first", async () => {
    const { clients, slug } = await tenantWith({ maxStreams: 1 });
    const workflowId = await newWorkflow(clients);
    await using held = reader(clients, workflowId);
    await held.open();
    const base = `${clients.url}/api/tenants/${slug}/stream/workflows`;
    const status = async (path: string, key = clients.key) => {
      await using answer = await sse(`${base}/${path}`, { headers: { authorization: `Bearer ${key}` } });
      return answer.status;
    };
    expect(await status(workflowId, "wrong")).toBe(401);
    expect(await status("no-uuid")).toBe(400);
    expect(await status(workflowId, server.globex.key)).toBe(403);
    expect(await status("0198f3a2-6b1c-7d4e-8f90-000000000000")).toBe(404);
    expect(await status(workflowId)).toBe(429);
  });

  test("labels of one call count each; the one too many is told so under its label, and has its place when another ends", async () => {
    const { clients } = await tenantWith({ maxStreams: 2 });
    const workflowId = await newWorkflow(clients);
    await using call = multiplex(clients);
    for (const label of ["a", "b"]) call.subscribe(label, { workflowId });
    await call.until(() => expect(call.of("a").opened && call.of("b").opened).toBeTruthy());
    call.subscribe("c", { workflowId });
    await call.until(() => expect(call.of("c").error?.code).toBe("resource_exhausted"));
    await using many = streamMany(clients, [{ label: "x", workflowId }]);
    await many.until(() => expect(many.of("x").error?.code).toBe("resource_exhausted"));
    call.unsubscribe("a");
    await call.until(() => expect(call.of("a").unsubscribed).toBe(true));
    await until(async () => {
      call.subscribe("d", { workflowId });
      await call.until(() => expect(call.of("d").opened ?? call.of("d").error).toBeDefined());
      expect(call.of("d").error).toBeUndefined();
    });
  });

  test("many at once on two instances are never more than the limit, and all are free when they have ended", async () => {
    const { clients, slug } = await tenantWith({ maxStreams: 5 });
    const workflowId = await newWorkflow(clients);
    const open: Subscription[] = [];
    const refused: unknown[] = [];
    await Promise.all(
      repeat(30, async (n) => {
        const one = reader(at(n % 2, clients), workflowId);
        await one.open().then(
          () => open.push(one),
          (error: unknown) => refused.push(error),
        );
      }),
    );
    expect([open.length, refused.length]).toEqual([5, 25]);
    const { rows } = await server.pool.query(
      "select sum(open)::int as n from reader_count where tenant_slug = $1",
      [slug],
    );
    expect(rows[0].n).toBe(5);
    for (const one of open) await one[Symbol.asyncDispose]();
    await until(async () => {
      const left = await server.pool.query("select from reader_count where tenant_slug = $1", [slug]);
      expect(left.rows).toHaveLength(0);
    });
  });

  test("an instance that died without a word frees what it had when its lease is over", async () => {
    const { clients, slug } = await tenantWith({ maxStreams: 1 });
    const workflowId = await newWorkflow(clients);
    const dead = (leaseMs: number) =>
      server.pool.query("select reader_take('00000000-0000-4000-8000-000000000000', $1, 0, 1, 1, $2)", [
        slug,
        leaseMs,
      ]);
    await dead(60_000);
    expect(await codeOf(clients.streams.streamWorkflow({ workflowId }))).toBe("ResourceExhausted");
    await dead(-1);
    await opens(clients, workflowId);
  });

  test("readers of one tenant at its limit do not keep another's out", async () => {
    const { clients } = await tenantWith({ maxStreams: 1 });
    const workflowId = await newWorkflow(clients);
    await using held = reader(clients, workflowId);
    await held.open();
    const own = await newWorkflow(server.globex);
    const flood = repeat(50, () => codeOf(clients.streams.streamWorkflow({ workflowId })));
    await using free = reader(server.globex, own);
    await free.open();
    expect(new Set(await Promise.all(flood))).toEqual(new Set(["ResourceExhausted"]));
  });
});
