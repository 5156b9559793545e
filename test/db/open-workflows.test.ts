/** How many workflows of a tenant may be open: counted by `append` and the triggers of 0009_quotas.sql. */
import { expect, test } from "vitest";
import type { Client } from "../../db/pool.ts";
import { append } from "../../db/statements/append.ts";
import type { Command } from "../../server/core/command.ts";
import { toAppendGroup } from "../../server/store/append-group.ts";
import { attach, close, create } from "../support/commands.ts";
import { newId, useDatabase, waitingForLock } from "../support/database.ts";
import { until } from "../support/until.ts";

const database = useDatabase();

let tenants = 0;
async function aTenant(most: number): Promise<string> {
  const slug = `counted-${++tenants}`;
  await database.pool.query("insert into tenant (slug, max_open_workflows) values ($1, $2)", [slug, most]);
  return slug;
}
const setMost = (tenant: string, most: number) =>
  database.pool.query("update tenant set max_open_workflows = $2 where slug = $1", [tenant, most]);

async function run(client: Client, commands: readonly Command[]): Promise<string[]> {
  const { opResults } = await append(client, toAppendGroup(commands));
  return opResults.map(({ result }) => result);
}

async function counted(tenant: string): Promise<{ counted: number | undefined; open: number }> {
  const { rows } = await database.pool.query(
    `select (select open from open_workflow_count where tenant_slug = $1) as counted,
            (select count(*)::int from workflow where tenant_slug = $1 and status = 1) as open`,
    [tenant],
  );
  return { counted: rows[0].counted ?? undefined, open: rows[0].open };
}

test("as many as the limit says are open, roots and children alike; a close frees at once, the same again is no other", async () => {
  const client = await database.connect();
  const tenant = await aTenant(3);
  const root = newId();
  const child = (workflowId = newId()) => create(root, { tenant, workflowId, parentWorkflowId: root });
  const first = newId();
  expect(await run(client, [create(root, { tenant, workflowId: root })])).toEqual(["created"]);
  expect(await run(client, [child(first), child()])).toEqual(["created", "created"]);
  const { opResults } = await append(client, toAppendGroup([child()]));
  expect(opResults).toEqual([{ result: "too_many", open: 3, most: 3 }]);
  const other = newId();
  expect(await run(client, [create(other, { tenant, workflowId: other })])).toEqual(["too_many"]);
  expect(await run(client, [child(first)])).toEqual(["exists"]);
  expect(await run(client, [create(newId(), { tenant, workflowId: first })])).toEqual(["exists"]);
  const { rows } = await database.pool.query("select from stream where tenant_slug = $1", [tenant]);
  expect(rows).toHaveLength(1); // nothing of what was refused
  expect(await run(client, [close(root, first), child()])).toEqual(["closed", "created"]);
  expect(await counted(tenant)).toEqual({ counted: 3, open: 3 });
  expect(await run(client, [{ ...close(root, root), closeDescendants: true }])).toEqual(["closed"]);
  expect(await counted(tenant)).toEqual({ counted: 0, open: 0 });
});

test("a limit counts what is there when it comes, lower ones refuse until enough are closed, 0 is none", async () => {
  const client = await database.connect();
  const tenant = await aTenant(0);
  const ids = Array.from({ length: 5 }, newId);
  const make = () => create(newId(), { tenant });
  await run(
    client,
    ids.map((workflowId) => create(workflowId, { tenant, workflowId })),
  );
  await run(client, [close(ids[0] as string, ids[0] as string)]);
  expect(await counted(tenant)).toEqual({ counted: undefined, open: 4 });
  await setMost(tenant, 2);
  expect(await counted(tenant)).toEqual({ counted: 4, open: 4 });
  expect(await run(client, [make()])).toEqual(["too_many"]);
  await run(
    client,
    ids.slice(1, 4).map((id) => close(id, id)),
  );
  expect(await run(client, [make()])).toEqual(["created"]);
  expect(await run(client, [make()])).toEqual(["too_many"]);
  await setMost(tenant, 3);
  expect(await run(client, [make()])).toEqual(["created"]);
  await setMost(tenant, 0);
  expect(await run(client, [make(), make()])).toEqual(["created", "created"]);
  expect((await counted(tenant)).counted).toBeUndefined();
});

test("of many that create at once on several connections, two tenants in each group, none passes the limit and none locks another out", async () => {
  const [a, b] = [await aTenant(20), await aTenant(20)];
  const results = await Promise.all(
    Array.from({ length: 6 }, async (_, n) => {
      const client = await database.connect();
      const said: string[] = [];
      for (let round = 0; round < 10; round++) {
        const order = (n + round) % 2 === 0 ? [a, b] : [b, a];
        said.push(
          ...(await run(
            client,
            order.map((tenant) => create(newId(), { tenant })),
          )),
        );
      }
      return said;
    }),
  );
  expect(results.flat().filter((result) => result === "created")).toHaveLength(40);
  for (const tenant of [a, b]) expect(await counted(tenant)).toEqual({ counted: 20, open: 20 });
});

test("a first limit waits for creations that are not committed, and counts them; one that is rolled back is not", async () => {
  const [one, two] = [await database.connect(), await database.connect()];
  const tenant = await aTenant(0);
  await one.query("begin");
  await run(one, [create(newId(), { tenant })]);
  await two.query("begin");
  await run(two, [create(newId(), { tenant })]);
  const setting = setMost(tenant, 5);
  await until(() => waitingForLock(database.pool));
  await one.query("commit");
  await two.query("rollback");
  await setting;
  expect(await counted(tenant)).toEqual({ counted: 1, open: 1 });
});

test("a tenant whose creation is held up holds up nobody else", async () => {
  const [one, two] = [await database.connect(), await database.connect()];
  const [a, b, free] = [await aTenant(5), await aTenant(5), await aTenant(0)];
  await one.query("begin");
  await run(one, [create(newId(), { tenant: a })]);
  await two.query("set lock_timeout = 1000");
  expect(await run(two, [create(newId(), { tenant: b }), create(newId(), { tenant: free })])).toEqual([
    "created",
    "created",
  ]);
  await expect(run(two, [create(newId(), { tenant: a })])).rejects.toThrow("lock timeout");
  await one.query("rollback");
  expect(await run(two, [create(newId(), { tenant: a })])).toEqual(["created"]);
});

test("of two sessions that begin at once on two connections only one gets the tenant's last one", async () => {
  const [one, two] = [await database.connect(), await database.connect()];
  const tenant = await aTenant(0);
  const begin = async (client: Client) => {
    const workflow = newId();
    await run(client, [create(workflow, { tenant, workflowId: workflow })]);
    return { ...attach(workflow, workflow, newId()), tenant, maxSessions: 1 };
  };
  const [first, second] = [await begin(one), await begin(two)];
  await one.query("begin");
  expect(await run(one, [first])).toEqual(["attached"]);
  const late = run(two, [second]);
  await until(() => waitingForLock(database.pool));
  await one.query("commit");
  expect(await late).toEqual(["too_many"]);
});
