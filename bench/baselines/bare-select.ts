/** The rows of a stream read by `pg` alone, page by page along the primary key, and thrown away. */
import pg from "pg";
import { nowUs } from "../measure/clock.ts";

const text = `select "offset", workflow_id, task_execution_id, producer_id, sequence, type, payload, payload_is_text,
                     timestamp_ms, recorded_ms
                from event where stream_id = $1 and "offset" > $2 order by "offset" limit $3`;

export async function open({ url, page }: { url: string; page: number }) {
  async function readAll(streamId: string, expected: number, deadline: number) {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    let cursor = 0;
    let events = 0;
    let messages = 0;
    try {
      while (events < expected && nowUs() < deadline) {
        const values = [streamId, cursor, page];
        const { rows } = await client.query<unknown[]>({ name: "page", text, values, rowMode: "array" });
        const last = rows.at(-1) as [string] | undefined;
        if (last === undefined) break;
        cursor = Number(last[0]);
        events += rows.length;
        messages += 1;
      }
      return { events, messages };
    } finally {
      await client.end();
    }
  }

  async function replay(streamId: string, readers: number, expected: number, limitMs: number) {
    const began = nowUs();
    const deadline = began + limitMs * 1000;
    const read = await Promise.all(
      Array.from({ length: readers }, () => readAll(streamId, expected, deadline)),
    );
    const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
    return {
      events: sum(read.map(({ events }) => events)),
      messages: sum(read.map(({ messages }) => messages)),
      seconds: (nowUs() - began) / 1e6,
    };
  }

  return { methods: { replay } };
}
