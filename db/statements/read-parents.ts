/** The shape of one tree: child and parent, roots left out. */
import type { Queryable } from "../pool.ts";

export async function readParents(db: Queryable, streamId: string): Promise<Map<string, string>> {
  const { rows } = await db.query({
    name: "read_parents",
    text: "select workflow_id, parent_workflow_id from workflow where stream_id = $1 and parent_workflow_id is not null",
    values: [streamId],
  });
  return new Map(rows.map((row) => [row.workflow_id, row.parent_workflow_id]));
}
