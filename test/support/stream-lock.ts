/**
 * Holds the row lock of a stream in Postgres, as a slow commit would: nothing of this tree is stored until it is released.
 * The server gives up waiting after its `lock_timeout` and tries again, so a release is noticed within about a second.
 */
import pg from "pg";
import { onTestFinished } from "vitest";

export interface HeldStream {
  release(): Promise<void>;
}

/** Locks the streams of these workflows. */
export async function holdStreams(
  databaseUrl: string,
  ...workflowIds: readonly string[]
): Promise<HeldStream> {
  const client = new pg.Client({ connectionString: databaseUrl });
  client.on("error", () => {});
  await client.connect();
  let held = true;
  const release = async () => {
    if (!held) return;
    held = false;
    await client.end();
  };
  onTestFinished(release);
  await client.query("begin");
  await client.query(
    `select 1 from stream where stream_id in (select stream_id from workflow where workflow_id = any($1::uuid[]))
      order by stream_id for update`,
    [workflowIds],
  );
  return { release };
}
