/**
 * One Postgres for a whole invocation, with its default settings (fsync on, which is checked), and a fresh database for each
 * run. A watchdog stops it however this process ends.
 *
 * Its log (WAL) is what that of a database is that has been at work: files that are used again. A new one must first be
 * written full of zeros, which holds up all commits for tens of milliseconds, and of which a busy minute needs twenty.
 */
import { randomBytes, randomUUID } from "node:crypto";
import pg from "pg";
import { migrate } from "../db/migrate.ts";
import { append } from "../db/statements/append.ts";
import { toAppendGroup } from "../server/store/append-group.ts";
import { startTestCluster } from "../test/support/cluster.ts";
import { create } from "../test/support/commands.ts";
import { postmasterOf } from "./measure/database-cpu.ts";
import { mark, stampedText } from "./wire/stamp.ts";

export const tenant = "bench";
/** More than a case writes. */
const logMb = 640;

/** A database with one stored stream; it is copied for each run that reads it. */
export interface StoredStream {
  readonly workflowId: string;
  readonly template: string;
  /** With the one that says that the workflow was created. */
  readonly events: number;
}

export interface Databases {
  readonly postgres: string;
  readonly postmaster: number | undefined;
  /** A fresh database with the tables and the tenant; `close` drops it. */
  fresh(template?: string): Promise<{ readonly url: string; close(): Promise<void> }>;
  stored(events: number, payloadBytes: number): Promise<StoredStream>;
  /** A count that grows by one with each transaction that writes. */
  commits(): Promise<number>;
  stop(): Promise<void>;
}

export async function startDatabases(): Promise<Databases> {
  const cluster = await startTestCluster();
  const admin = new pg.Client({ connectionString: cluster.url });
  const stop = async () => {
    await admin.end().catch(() => {}); // it is stopped anyway
    await cluster.stop();
  };
  try {
    await admin.connect();
    const { rows } = await admin.query(
      "select current_setting('server_version') as version, current_setting('fsync') as fsync, pg_backend_pid() as pid",
    );
    if (rows[0].fsync !== "on") throw new Error("fsync is off: nothing here would mean anything");
    await useLog();
    const tables = await createDatabase("template1");
    await migrate(urlOf(tables));
    await inDatabase(tables, (client) => client.query("insert into tenant (slug) values ($1)", [tenant]));
    const stored = new Map<string, Promise<StoredStream>>();
    return {
      postgres: rows[0].version,
      postmaster: await postmasterOf(rows[0].pid),
      async fresh(template = tables) {
        const name = await createDatabase(template);
        // What the last run left to be written must not be written during this one.
        await admin.query("checkpoint");
        return {
          url: urlOf(name),
          close: async () => void (await admin.query(`drop database if exists ${name} with (force)`)),
        };
      },
      stored(events, payloadBytes) {
        const key = `${events} ${payloadBytes}`;
        const found = stored.get(key) ?? store(events, payloadBytes);
        stored.set(key, found);
        return found;
      },
      async commits() {
        const { rows } = await admin.query(
          "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as xid",
        );
        return Number(rows[0].xid);
      },
      stop,
    };

    async function store(events: number, payloadBytes: number): Promise<StoredStream> {
      const template = await createDatabase(tables);
      const workflowId = randomUUID();
      await inDatabase(template, async (client) => {
        await append(client, toAppendGroup([create(workflowId, { workflowId, tenant })]));
        await client.query(fill, [workflowId, events, mark, stampedText(0, payloadBytes)]);
        await client.query("update stream set next_offset = next_offset + $1", [events]);
        await client.query("vacuum analyze");
      });
      return { workflowId, template, events: events + 1 };
    }
  } catch (error) {
    await stop();
    throw error;
  }

  /** Writes the log once through, and keeps its files. */
  async function useLog(): Promise<void> {
    await admin.query(`alter system set min_wal_size = '${logMb}MB'`);
    await admin.query("select pg_reload_conf()");
    await admin.query(
      "select pg_logical_emit_message(false, 'bench', repeat('x', 1024 * 1024)) from generate_series(1, $1)",
      [logMb],
    );
    await admin.query("checkpoint");
  }

  function urlOf(name: string): string {
    const url = new URL(cluster.url);
    url.pathname = `/${name}`;
    return url.href;
  }

  async function createDatabase(template: string): Promise<string> {
    const name = `bench_${randomBytes(6).toString("hex")}`;
    await admin.query(`create database ${name} template ${template} strategy file_copy`);
    return name;
  }

  async function inDatabase(name: string, act: (client: pg.Client) => Promise<unknown>): Promise<void> {
    const client = new pg.Client({ connectionString: urlOf(name) });
    await client.connect();
    try {
      await act(client);
    } finally {
      await client.end();
    }
  }
}

/** Many events of one task, as `append` would have stored them. */
const fill = `
  insert into event (stream_id, "offset", workflow_id, task_execution_id, producer_id, sequence, type,
                     payload, payload_is_text, timestamp_ms, recorded_ms)
  select $1::uuid, n + 1, $1::uuid, 'task-1', '', 0, 1,
         convert_to($3 || lpad(n::text, 16, '0') || substr($4, length($3) + 17), 'UTF8'), true, t, t
    from generate_series(1, $2::int) as n, (select (extract(epoch from now()) * 1000)::bigint) as now(t)`;
