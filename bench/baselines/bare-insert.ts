/**
 * The least that an append to a table can be: the same rows into a table of the same columns with the primary key alone, the
 * offsets from the update of the stream's row, in one statement. It decides nothing and would deadlock if two connections
 * shared a stream (they do not, here).
 */
import { stampedText } from "../wire/stamp.ts";
import { type BareOptions, commitLoop, openShards, type Shard } from "./stream-shards.ts";

const tables = `
  create table if not exists bare_stream (stream_id uuid primary key, next_offset bigint not null);
  create table if not exists bare_event (like event, primary key (stream_id, "offset"))`;

const text = `
  with taken as (
    update bare_stream s set next_offset = s.next_offset + n.events
      from unnest($1::uuid[], $2::int[]) as n(stream_id, events)
     where s.stream_id = n.stream_id
    returning s.stream_id, s.next_offset - n.events as first
  )
  insert into bare_event (stream_id, "offset", workflow_id, task_execution_id, producer_id, sequence, type,
                          payload, payload_is_text, timestamp_ms, recorded_ms)
  select t.stream_id, t.first + e.position, t.stream_id, 'task', '', 0, 1,
         e.payload, true, 1, (extract(epoch from clock_timestamp()) * 1000)::bigint
    from unnest($3::uuid[], $4::int[], $5::bytea[]) as e(stream_id, position, payload)
    join taken t using (stream_id)`;

export async function open(options: BareOptions) {
  const shards = await openShards(options);
  await shards[0]?.client.query(tables);
  for (const { client, streams } of shards) {
    await client.query("insert into bare_stream select unnest($1::uuid[]), 1", [streams]);
  }
  const toValues = ({ streams }: Shard) => {
    const rows = Array.from({ length: options.group }, (_, n) => ({
      stream: streams[n % streams.length] as string,
      position: Math.floor(n / streams.length),
      payload: `\\x${Buffer.from(stampedText(n, options.payloadBytes)).toString("hex")}`,
    }));
    const used = streams.slice(0, options.group);
    const counts = used.map((id) => rows.filter(({ stream }) => stream === id).length);
    const literal = (values: readonly (string | number)[]) => `{${values.join(",")}}`;
    // A backslash in an element of an array literal needs another one.
    const payloads = rows.map(({ payload }) => `"\\${payload}"`);
    return [
      literal(used),
      literal(counts),
      literal(rows.map(({ stream }) => stream)),
      literal(rows.map(({ position }) => position)),
      literal(payloads),
    ];
  };
  const commits = shards.map((shard) => {
    const values = toValues(shard);
    return () => shard.client.query({ name: "bare_insert", text, values });
  });
  return {
    methods: { closedLoop: (seconds: number) => commitLoop(commits, options.group, seconds) },
    close: async () => {
      for (const { client } of shards) await client.end();
    },
  };
}
