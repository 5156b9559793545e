/**
 * No page looks at more entries than its bounds say, whatever the planner believes: of an empty table, of one that it does not know
 * yet and of one that it knows; with the plan for these values and with the one for any; through each scope and filter, in both
 * directions. One stream is large and others are many, which is where a planner that knows averages alone goes wrong.
 */
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type PageQuery, pageSettings, pageStatement } from "../../db/statements/read-page.ts";
import { limits } from "../../server/core/limits.ts";
import { createPgEventStore } from "../../server/store/pg-event-store.ts";
import { create } from "../support/commands.ts";
import { newId, useDatabase } from "../support/database.ts";

const database = useDatabase();
let client: pg.Client;
beforeAll(async () => {
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
  for (const setting of pageSettings) await client.query(`set ${setting}`);
  // Of each: nothing may change it between two steps.
  await client.query("alter table event set (autovacuum_enabled = off)");
});
afterAll(() => client.end());

const streams = Array.from({ length: 50 }, newId);
const workflows = streams.map(newId);
const children = streams.map(newId);
const streamId = streams[0] as string;
const workflowId = workflows[0] as string;
const large = 30_000;
const small = 300;
/** As read-page.ts has it. */
const candidates = 10_000;

async function fill(): Promise<void> {
  const options = { poolSize: 2, connectTimeoutMs: 2000, statementTimeoutMs: 5000, onError: () => {} };
  const store = createPgEventStore({ ...options, url: database.url, commitConnections: 1 });
  await store.append(
    0,
    streams.flatMap((id, i) => {
      const root = workflows[i] as string;
      return [
        create(id, { workflowId: root }),
        create(id, { workflowId: children[i] as string, parentWorkflowId: root }),
      ];
    }),
  );
  await store.close();
  await client.query(
    "update stream set next_offset = next_offset + case when stream_id = $1 then $2::int else $3::int end",
    [streamId, large, small],
  );
  await client.query(
    `insert into event
     select id, 2 + n, case when n % 3 = 0 then workflow else child end, 'task' || n % 50, '', 0, 1 + n % 8,
            convert_to(repeat('x', 100), 'UTF8'), true, 1, 1, null
       from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[]) as s(id, workflow, child, entries), generate_series(1, entries) as n`,
    [streams, workflows, children, streams.map((_, i) => (i === 0 ? large : small))],
  );
}

const parts = {
  stream: { workflowId: undefined, subtree: false },
  workflow: { workflowId, subtree: false },
  subtree: { workflowId, subtree: true },
};
const filters = {
  all: { types: undefined, tasks: undefined },
  types: { types: [1, 2], tasks: undefined },
  tasks: { types: undefined, tasks: ["task1"] },
  both: { types: [1, 2], tasks: ["task1", "task3"] },
};

interface Plan {
  readonly "Node Type": string;
  readonly "Relation Name"?: string;
  readonly "Actual Rows": number;
  readonly "Actual Loops": number;
  readonly "Rows Removed by Filter"?: number;
  readonly Plans?: readonly Plan[];
}

/** Entries that were looked at, by index or in the table. */
function looked(plan: Plan): number {
  const own =
    plan["Relation Name"] === "event" || plan["Node Type"] === "Bitmap Index Scan"
      ? (plan["Actual Rows"] + (plan["Rows Removed by Filter"] ?? 0)) * plan["Actual Loops"]
      : 0;
  return own + (plan.Plans ?? []).reduce((all, child) => all + looked(child), 0);
}

async function lookedFor(query: PageQuery, weighed: boolean): Promise<number> {
  const { text, values } = pageStatement(query, weighed);
  await client.query(`prepare page as ${text}`);
  const literals = values.map((value) =>
    Array.isArray(value) ? `'{${value.join()}}'` : client.escapeLiteral(String(value)),
  );
  const { rows } = await client.query(`explain (analyze, format json) execute page(${literals.join()})`);
  await client.query("deallocate page");
  return looked(rows[0]["QUERY PLAN"][0].Plan);
}

async function lookAtAll(state: string): Promise<void> {
  const found: Record<string, number> = {};
  for (const plans of ["force_generic_plan", "force_custom_plan"]) {
    await client.query(`set plan_cache_mode = ${plans}`);
    for (const [part, which] of Object.entries(parts)) {
      for (const [filter, only] of Object.entries(filters)) {
        for (const descending of [false, true]) {
          for (const weighed of [false, true]) {
            const query = {
              ...{ streamId, ...which, ...only, descending },
              ...(descending ? { from: 0, to: large - 1000 } : { from: 1000, to: large }),
              ...{ limit: limits.batchEntries, maxBytes: limits.batchBytes },
            };
            const most = limits.batchEntries + (part === "subtree" || filter !== "all" ? candidates : 0);
            const entries = await lookedFor(query, weighed);
            if (entries > most || entries < limits.batchEntries / 5) {
              found[
                `${state}, ${plans}, ${part}, ${filter}, ${descending ? "falling" : "rising"}${weighed ? ", weighed" : ""}`
              ] = entries;
            }
          }
        }
      }
    }
  }
  expect(found).toEqual({});
}

test("a page looks at no more than its bounds, whatever is known of the table", async () => {
  await fill();
  await lookAtAll("unknown");
  await client.query("analyze");
  await lookAtAll("known");
  // As a table is taken for that was empty when it was last looked at.
  await client.query("update pg_class set reltuples = 0, relpages = 1 where relname = 'event'");
  await client.query("delete from pg_statistic where starelid = 'event'::regclass");
  await lookAtAll("taken for empty");
}, 60_000);

test("the pages that readers ask for are planned once, each kind under a name of its own", () => {
  const bounds = { limit: limits.batchEntries, maxBytes: limits.batchBytes };
  const names = new Map<string | undefined, string>();
  for (const which of Object.values(parts)) {
    for (const only of Object.values(filters)) {
      for (const descending of [false, true]) {
        for (const weighed of [false, true]) {
          const query = { streamId, ...which, ...only, descending, from: 0, to: 1, ...bounds };
          const { name, text } = pageStatement(query, weighed);
          expect(name).toMatch(/^read_page_/);
          expect(names.has(name)).toBe(false);
          names.set(name, text);
          expect(pageStatement({ ...query, limit: bounds.limit - 1 }, weighed).name).toBeUndefined();
        }
      }
    }
  }
});
