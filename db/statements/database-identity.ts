/**
 * Which database this is, and which it was when a server first used it. What Postgres says of itself is not in a dump, so a
 * restored copy has the old row in a new database. A copy of the data folder cannot be told from what it is a copy of.
 */
import type { Queryable } from "../pool.ts";

/** As the row has it, or as Postgres says it now. */
export interface DatabaseIdentity {
  /** Of the cluster, made when it was initialised. */
  readonly systemIdentifier: string;
  readonly databaseOid: string;
  /** Rises when a standby is promoted and at each restore to a point in time. */
  readonly timeline: number;
}

const present = `select system_identifier::text, (select oid::bigint from pg_database where datname = current_database()),
                        (select timeline_id from pg_control_checkpoint())
                   from pg_control_system()`;

/** Some hosts do not let everybody ask. */
export async function mayAskIdentity(db: Queryable): Promise<boolean> {
  const { rows } = await db.query(`
    select has_function_privilege('pg_control_system()', 'execute')
       and has_function_privilege('pg_control_checkpoint()', 'execute') as may`);
  return rows[0].may;
}

/** Notes the present one if none is noted. Both differ after a restore. */
export async function readIdentities(
  db: Queryable,
): Promise<{ readonly noted: DatabaseIdentity; readonly present: DatabaseIdentity }> {
  await db.query(
    `insert into database_identity (system_identifier, database_oid, timeline) ${present} on conflict do nothing`,
  );
  const { rows } = await db.query(`
    select n.system_identifier as "systemIdentifier", n.database_oid as "databaseOid", n.timeline,
           p.system_identifier as "presentSystem", p.database_oid as "presentOid", p.timeline as "presentTimeline"
      from database_identity n, (${present}) as p(system_identifier, database_oid, timeline)`);
  const { presentSystem, presentOid, presentTimeline, ...noted } = rows[0];
  return {
    noted,
    present: { systemIdentifier: presentSystem, databaseOid: presentOid, timeline: presentTimeline },
  };
}

/** From now on the present one is the one that was noted. */
export async function noteIdentity(db: Queryable): Promise<void> {
  await db.query(`
    insert into database_identity (system_identifier, database_oid, timeline) ${present}
    on conflict ("only") do update set (system_identifier, database_oid, timeline, noted_ms)
      = (excluded.system_identifier, excluded.database_oid, excluded.timeline, excluded.noted_ms)`);
}

/** Every stream gets an epoch that it never had: above its own, and above all that the clock has given so far. How many. */
export async function raiseEpochs(db: Queryable): Promise<number> {
  const { rowCount } = await db.query(
    "update stream set epoch = greatest(epoch + 1, (extract(epoch from clock_timestamp()) * 1000)::bigint)",
  );
  return rowCount ?? 0;
}
