/**
 * The steps in which a closed tree is deleted. Each is bounded, and each may be done again: a call that dies in between
 * leaves a closed tree without entries, which the next call finds. Nothing new comes to a tree that has ended, so no lock
 * is held from step to step; and each step names the stream, so a tree made anew under the same id is never touched.
 */
import type { Pool, Queryable } from "../pool.ts";
import { deleteEntries } from "./retention.ts";

/** Rows of one statement: so few that no lock is held for long. Entries may have a MiB each. */
const batch = 2000;
const entriesBatch = 250;

/**
 * Raises the floor over everything, so that readers are told. How many entries were above it; or open, or gone. The stream is
 * locked first, as a sweep does: the floor's row refers to it, and each could wait for what the other has.
 */
export async function hideEntries(
  db: Queryable,
  streamId: string,
): Promise<{ entries: number } | "open" | "unknown"> {
  const { rows } = await db.query({
    name: "hide_tree_entries",
    text: `with tree as materialized (
             select s.stream_id, s.next_offset - 1 as tail, w.open_in_subtree as open,
                    coalesce((select f.floor_offset from stream_floor f where f.stream_id = s.stream_id), 0) as floor
               from stream s join workflow w using (stream_id) where s.stream_id = $1 and w.parent_workflow_id is null for update of s
           ), raised as (
             insert into stream_floor as f (stream_id, floor_offset)
             select stream_id, tail from tree where open = 0
             on conflict (stream_id) do update set floor_offset = excluded.floor_offset
              where f.floor_offset < excluded.floor_offset
           )
           select open, (tail - floor)::float8 as entries from tree`,
    values: [streamId],
  });
  const [tree] = rows;
  if (tree === undefined) return "unknown";
  return tree.open > 0 ? "open" : { entries: tree.entries };
}

/** What belongs to the tree and is not seen without it. */
export async function deleteParts(db: Queryable, streamId: string): Promise<void> {
  while (!(await deleteEntries(db, streamId, entriesBatch)).done);
  const ofStream = (table: string) => `delete from ${table} where ctid = any (array(
    select ctid from ${table} where stream_id = $1 limit ${batch}))`;
  const ofWorkflows = (table: string) => `delete from ${table} where ctid = any (array(
    select p.ctid from workflow w join ${table} p using (workflow_id) where w.stream_id = $1 limit ${batch}))`;
  const statements = [
    ofStream("producer"),
    ofStream("session"),
    ofWorkflows("task"),
    ofWorkflows("variable"),
  ];
  for (const text of statements) {
    while (((await db.query({ text, values: [streamId] })).rowCount ?? 0) >= batch);
  }
}

/** The registry's rows and the stream, together: who watches the registry is told of a deletion once it is whole. */
export async function deleteRegistered(pool: Pool, streamId: string): Promise<void> {
  const client = await pool.connect();
  let done = false;
  try {
    await client.query("begin");
    // First the stream, as everybody who locks both.
    await client.query("select from stream where stream_id = $1 for update", [streamId]);
    // Children come after their parents in the stream. From where the batch before ended: else each would look again at what
    // is deleted and not gone yet.
    const text = `with doomed as materialized (
        select workflow_id, created_offset from workflow
         where stream_id = $1 and created_offset < $2 order by created_offset desc limit ${batch}
      ), gone as (delete from workflow where workflow_id in (select workflow_id from doomed))
      select min(created_offset) as last from doomed`;
    for (let last: string | null = String(Number.MAX_SAFE_INTEGER); last !== null; ) {
      last = (await client.query({ text, values: [streamId, last] })).rows[0].last;
    }
    await client.query("delete from stream where stream_id = $1", [streamId]);
    await client.query("commit");
    done = true;
  } finally {
    // Its connection may be silent: it is dropped, which rolls back, and nobody waits for it.
    client.release(!done);
  }
}
