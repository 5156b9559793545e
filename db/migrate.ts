/**
 * Brings the database up to date. Processes that start together take turns by an advisory lock; the second finds
 * nothing to do. Each release's migrations work with the previous release, so instances may be replaced one by one.
 *
 * A migration locks tables that those instances use. While it waits for one, all who come later wait behind it; so it gives
 * up before their own patience ends (2 s), and tries again. So it does when it and others waited for each other.
 *
 * On a database that is up to date it only looks, which a role that may change nothing of the schema may do too (db/roles.sql).
 */
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { readMigrationFiles } from "drizzle-orm/migrator";
import { drizzle } from "drizzle-orm/node-postgres";
import { migrate as applyMigrations } from "drizzle-orm/node-postgres/migrator";
import pg from "pg";

const defaults = {
  connectTimeoutMs: 10_000,
  /** Oldest supported server version, as in `server_version_num`. */
  oldestVersion: 150_000,
  /** Shorter than what Postgres takes to look for a deadlock (1 s): so this one gives up, not who is being served. */
  lockTimeoutMs: 500,
  /** How often a migration that found tables locked is tried, and the pause between, ms. */
  tries: 30,
  pauseMs: 500,
};

const migrationsFolder = fileURLToPath(new URL("./migrations", import.meta.url));
/** "trib" in ASCII: the advisory lock of migrations. */
const migrationLock = 0x74726962;

/** A database that this service cannot use. The message says why and what to do. */
export class UnusableDatabase extends Error {}

export async function migrate(
  url: string,
  options: Partial<typeof defaults> = {},
): Promise<{ warnings: string[] }> {
  const { connectTimeoutMs, oldestVersion, ...patience } = { ...defaults, ...options };
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: connectTimeoutMs });
  client.on("error", () => {}); // reported by the query that fails with it
  try {
    await client.connect();
  } catch (error) {
    await client.end().catch(() => {});
    throw new UnusableDatabase(
      `DATABASE_URL: cannot connect to ${describe(url)} (${(error as Error).message}). Check that Postgres runs there and that user, password and database name are right.`,
      { cause: error },
    );
  }
  try {
    const warnings = await inspect(client, url, oldestVersion);
    const missing = await countMissing(client);
    if (missing === 0) return { warnings };
    await assertMayMigrate(client, url, missing);
    await client.query("select pg_advisory_lock($1)", [migrationLock]);
    await apply(client, patience);
    return { warnings };
  } finally {
    await client.end();
  }
}

/** How many migrations it lacks: all if nobody ever migrated it, or if this role cannot see whether somebody did. */
async function countMissing(client: pg.Client): Promise<number> {
  const migrations = readMigrationFiles({ migrationsFolder });
  const { rows: list } = await client.query(
    `select has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select') as visible
       from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'drizzle' and c.relname = '__drizzle_migrations'`,
  );
  if (list[0]?.visible !== true) return migrations.length;
  const { rows } = await client.query(
    "select max(created_at)::float8 as last from drizzle.__drizzle_migrations",
  );
  const last = rows[0]?.last ?? 0;
  return migrations.filter(({ folderMillis }) => folderMillis > last).length;
}

async function assertMayMigrate(client: pg.Client, url: string, missing: number): Promise<void> {
  const { rows } = await client.query(
    `select current_user as role, has_schema_privilege('public', 'create')
                                  and has_database_privilege(current_database(), 'create') as may`,
  );
  if (rows[0].may) return;
  throw new UnusableDatabase(
    `DATABASE_URL: ${describe(url)} is not up to date (${missing} migrations are missing), and the role ${rows[0].role} may not change that. Run \`tributary migrate\` with the migration role, then start again: docs/operations/database-roles.md.`,
  );
}

async function apply(
  client: pg.Client,
  { lockTimeoutMs, tries, pauseMs }: Pick<typeof defaults, "lockTimeoutMs" | "tries" | "pauseMs">,
): Promise<void> {
  await client.query(`set lock_timeout = ${lockTimeoutMs}`);
  for (let left = tries - 1; ; left--) {
    try {
      return await applyMigrations(drizzle(client), { migrationsFolder });
    } catch (error) {
      if (left <= 0 || !isLocked(error)) throw error;
      await setTimeout(pauseMs);
    }
  }
}

/** A lock that took too long, or a deadlock: nothing was done. */
function isLocked(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (["55P03", "40P01"].includes((at as { code?: string }).code ?? "")) return true;
  }
  return false;
}

async function inspect(client: pg.Client, url: string, oldestVersion: number): Promise<string[]> {
  const { rows } = await client.query(
    `select current_setting('server_version_num')::int as version, current_setting('server_version') as version_text,
            pg_is_in_recovery() or current_setting('transaction_read_only')::bool as read_only,
            current_setting('server_encoding') as encoding,
            current_setting('fsync') as fsync, current_setting('synchronous_commit') as synchronous_commit`,
  );
  const found = rows[0];
  if (found.version < oldestVersion) {
    throw new UnusableDatabase(
      `DATABASE_URL: ${describe(url)} is Postgres ${found.version_text}; Tributary needs ${oldestVersion / 10_000} or newer.`,
    );
  }
  if (found.read_only) {
    throw new UnusableDatabase(
      `DATABASE_URL: ${describe(url)} is read-only (a standby, or default_transaction_read_only is on). Give the address of the primary.`,
    );
  }
  if (found.encoding !== "UTF8") {
    throw new UnusableDatabase(
      `DATABASE_URL: ${describe(url)} has the encoding ${found.encoding}; create the database with UTF8.`,
    );
  }
  const warnings: string[] = [];
  if (found.fsync === "off") {
    warnings.push(
      "Postgres runs with fsync=off: what is acknowledged DURABLE may be lost in a crash of the machine.",
    );
  }
  if (found.synchronous_commit === "off") {
    warnings.push(
      "Postgres runs with synchronous_commit=off: what is acknowledged DURABLE may be lost in a crash.",
    );
  }
  return warnings;
}

/** The address without its password. */
export function describe(url: string): string {
  try {
    const parsed = new URL(url);
    return `${parsed.hostname || "localhost"}:${parsed.port || "5432"}${parsed.pathname}`;
  } catch {
    return "the given address";
  }
}
