/**
 * What events and observations take on disk, for docs/operations/sizing.md: fills a Postgres of its own with random text, which
 * does not compress, and divides. Ten seconds.
 */
import { randomBytes, randomUUID } from "node:crypto";
import pg from "pg";
import { migrate } from "../db/migrate.ts";
import { append } from "../db/statements/append.ts";
import type { Command } from "../server/core/command.ts";
import { EventType, type NewEvent, noWorkflow } from "../server/core/event.ts";
import { toAppendGroup } from "../server/store/append-group.ts";
import { startTestCluster } from "../test/support/cluster.ts";
import { anEvent, attach, create, entries } from "../test/support/commands.ts";

const cluster = await startTestCluster();
const client = new pg.Client({ connectionString: cluster.url });
try {
  await migrate(cluster.url);
  await client.connect();
  await client.query("insert into tenant (slug) values ('acme')");
  for (const bytes of [20, 100, 1000, 10_000]) {
    const count = 10_000_000 / Math.max(bytes, 500);
    await client.query("truncate event");
    await fillTree(count, bytes);
    const [table, indexes] = await sizesOf("event", count);
    console.log(`an event of ${bytes} bytes: table ${table}, indexes ${indexes}`);
  }
  for (const words of [20, 200]) {
    const count = 10_000;
    await client.query("truncate event, observation");
    const content = await fillSpace(count, words);
    const event = await sizesOf("event", count);
    const [table, indexes] = await sizesOf("observation", count);
    console.log(
      `an observation of ${words} words, ${content} bytes: event ${event[0] + event[1]}, table ${table}, indexes ${indexes}`,
    );
  }
} finally {
  await client.end();
  await cluster.stop();
}

function run(command: Command) {
  return append(client, toAppendGroup([command]));
}

async function fillTree(count: number, bytes: number): Promise<void> {
  const workflowId = randomUUID();
  await run(create(workflowId, { workflowId }));
  const payload = () =>
    randomBytes(Math.ceil(bytes / 2))
      .toString("hex")
      .slice(0, bytes);
  for (let at = 0; at < count; at += 100) {
    const batch = Array.from({ length: 100 }, () => anEvent({ workflowId, payload: payload() }));
    await run(entries(workflowId, batch));
  }
}

/** Words as in a text: some often, most seldom. Gives the bytes of an average content. */
async function fillSpace(count: number, words: number): Promise<number> {
  const [stream, session] = [randomUUID(), randomUUID()];
  await client.query("insert into stream (stream_id, tenant_slug, kind) values ($1, 'acme', 2)", [stream]);
  await client.query("insert into memory_space (tenant_slug, space, stream_id) values ('acme', $1, $2)", [
    `words-${words}`,
    stream,
  ]);
  await run(attach(stream, undefined, session));
  let bytes = 0;
  const observation = (sequence: number): NewEvent => {
    const content = Array.from({ length: words }, () => `word${Math.floor(Math.random() ** 2 * 5000)}`).join(
      " ",
    );
    bytes += content.length;
    return anEvent({
      workflowId: noWorkflow,
      taskExecutionId: "",
      producerId: session,
      sequence,
      type: EventType.OBSERVATION,
      payload: content,
      observation: {
        observationId: `${session}:${sequence}`,
        metadata: "{}",
        confidence: 1,
        importance: 1,
        observedMs: sequence,
      },
    });
  };
  for (let at = 0; at < count; at += 500) {
    const batch = Array.from({ length: 500 }, (_, i) => observation(at + i + 1));
    await run({ ...entries(stream, batch), session: { epoch: 1 } });
  }
  return Math.round(bytes / count);
}

/** Bytes of a row in the table, with what lies outside of it, and in its indexes. */
async function sizesOf(table: string, rows: number): Promise<[number, number]> {
  await client.query(`vacuum ${table}`);
  const { rows: found } = await client.query("select pg_table_size($1) as t, pg_indexes_size($1) as i", [
    table,
  ]);
  return [Math.round(found[0].t / rows), Math.round(found[0].i / rows)];
}
