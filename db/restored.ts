/**
 * After a restore offsets and sequences begin anew at an older place, and only the epochs of the streams tell readers. They
 * are raised by a command that an operator runs (cli/commands/after-restore.ts): a server cannot know it for certain, and
 * each raise makes every reader begin anew. What a server can see, it warns of.
 */
import pg from "pg";
import type { Queryable } from "./pool.ts";
import { mayAskIdentity, noteIdentity, raiseEpochs, readIdentities } from "./statements/database-identity.ts";

/** What the operator should know at the start; undefined: it is the database that it was. */
export async function findRestore(db: Queryable): Promise<string | undefined> {
  if (!(await mayAskIdentity(db))) return undefined;
  const { noted, present } = await readIdentities(db);
  const isOther =
    noted.systemIdentifier !== present.systemIdentifier || noted.databaseOid !== present.databaseOid;
  if (!isOther && noted.timeline === present.timeline) return undefined;
  const what = isOther
    ? "this database is a copy of another one (restored from a dump, or upgraded)"
    : `this database was promoted, or restored to a point in time (timeline ${noted.timeline}, now ${present.timeline})`;
  return `${what}. If anything that was stored is missing, offsets begin anew and readers must be told: run \`tributary after-restore\`. If nothing is missing: \`tributary after-restore --nothing-lost\`. See docs/operations/backup.md.`;
}

/** Tells readers that offsets begin anew, all or none; returns how many streams. `nothingLost`: none, it only ends the warning. */
export async function afterRestore(url: string, nothingLost: boolean): Promise<number> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {}); // reported by the query that fails with it
  await client.connect();
  try {
    await client.query("begin");
    const streams = nothingLost ? 0 : await raiseEpochs(client);
    if (await mayAskIdentity(client)) await noteIdentity(client);
    await client.query("commit");
    return streams;
  } finally {
    await client.end();
  }
}
