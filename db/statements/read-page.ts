/**
 * One page of a stream, of a part of it, or of what of that passes a filter, with the floor and the tail of the same
 * snapshot. The first row always comes and carries these; its event columns are null if nothing matched.
 *
 * A page is bounded three ways: by `limit` entries, by `maxBytes` of payload (one larger entry may stand alone), and,
 * where a filter or a subtree may pass over much, by `candidates` entries looked at, so that no page takes long however
 * rare its matches are. A filtered page first looks at keys alone and fetches the payloads of the matches.
 *
 * Text payloads come as text: the driver knows only the text format, in which bytes are hex, twice as long and slow to
 * parse. Text that holds U+0000, which Postgres has no text for, comes as bytes.
 */
import pg from "pg";
import type { Queryable } from "../pool.ts";

/** Entries looked at for one filtered page. */
const candidates = 10_000;

export interface PageQuery {
  readonly streamId: string;
  /** The part: undefined for the whole stream. */
  readonly workflowId: string | undefined;
  /** With workflowId: also its descendants. */
  readonly subtree: boolean;
  readonly types: readonly number[] | undefined;
  readonly tasks: readonly string[] | undefined;
  /** Rising: after `from` up to `to`. Falling: before `to`, down to and not including `from`. */
  readonly from: number;
  readonly to: number;
  readonly descending: boolean;
  readonly limit: number;
  readonly maxBytes: number;
}

export interface EventRow {
  readonly offset: number;
  readonly workflowId: string | null;
  readonly taskExecutionId: string;
  readonly producerId: string;
  readonly sequence: number;
  readonly type: number;
  /** null: none was given. */
  readonly payload: string | Buffer | null;
  readonly timestampMs: number;
  readonly recordedMs: number;
}

export interface PageRows {
  readonly tailOffset: number;
  readonly floorOffset: number;
  readonly rows: readonly EventRow[];
  /** The last entry looked at if the page ended early; undefined: all of the range was looked at. */
  readonly stoppedAt: number | undefined;
}

export async function readPage(db: Queryable, query: PageQuery): Promise<PageRows | undefined> {
  const byWorkflow = query.workflowId !== undefined && !query.subtree;
  const filtered = query.subtree || query.types !== undefined || query.tasks !== undefined;
  const order = query.descending ? "desc" : "asc";
  const bound = query.descending
    ? `e."offset" > $2 and e."offset" < $3`
    : `e."offset" > $2 and e."offset" <= $3`;
  const base = byWorkflow ? `e.workflow_id = $4 and e.stream_id = $1` : `e.stream_id = $1`;
  const columns = `e."offset", e.workflow_id, e.task_execution_id, e.producer_id, e.sequence, e.type, e.payload,
    e.payload_is_text, e.timestamp_ms, e.recorded_ms`;
  const matched = filtered
    ? `candidate as materialized (
         select e."offset", e.workflow_id, e.task_execution_id, e.type from event e
          where ${base} and ${bound} order by e."offset" ${order} limit ${candidates}
       ), hit as materialized (
         select e."offset" from candidate e
          where ${query.subtree ? `exists (select from workflow w where w.workflow_id = e.workflow_id and w.stream_id = $1 and w.path @> array[$4::uuid])` : "true"}
            and ($7::smallint[] is null or e.type = any ($7)) and ($8::text[] is null or e.task_execution_id = any ($8))
          order by e."offset" ${order} limit $5
       ), matched as (
         select ${columns} from hit join event e on e.stream_id = $1 and e."offset" = hit."offset"
       ), looked as (select count(*) >= ${candidates} as full, ${query.descending ? "min" : "max"}("offset") as last from candidate)`
    : `matched as (
         select ${columns} from event e where ${base} and ${bound} order by e."offset" ${order} limit $5
       ), looked as (select false as full, 0::bigint as last)`;
  const text = `with ${matched},
    weighed as (
      select *, sum(coalesce(octet_length(payload), 0)) over w as bytes, row_number() over w as no
        from matched window w as (order by "offset" ${order})
    ), picked as (select * from weighed where bytes <= $6 or no = 1)
    select s.next_offset - 1, coalesce(f.floor_offset, 0), looked.full, looked.last,
           (select count(*) from matched), p."offset", p.workflow_id, p.task_execution_id, p.producer_id,
           p.sequence, p.type, p.payload_is_text,
           case when p.payload_is_text and position('\\x00'::bytea in p.payload) = 0 then convert_from(p.payload, 'UTF8') end,
           case when not p.payload_is_text or position('\\x00'::bytea in p.payload) > 0 then p.payload end,
           p.timestamp_ms, p.recorded_ms
      from stream s left join stream_floor f using (stream_id) cross join looked left join picked p on true
     where s.stream_id = $1 and ($4::uuid is null or $4 is not null)
     order by p."offset" ${order}`;
  const { rows } = await db.query({
    name: `read_page_${byWorkflow ? "workflow" : query.subtree ? "subtree" : "stream"}_${filtered ? "filtered" : "all"}_${order}`,
    text,
    values: filtered
      ? [
          query.streamId,
          query.from,
          query.to,
          query.workflowId ?? null,
          query.limit,
          query.maxBytes,
          query.types ?? null,
          query.tasks ?? null,
        ]
      : [query.streamId, query.from, query.to, query.workflowId ?? null, query.limit, query.maxBytes],
    rowMode: "array",
    types: {
      getTypeParser: (oid: number) => (oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid)),
    },
  } as pg.QueryArrayConfig);
  return toPageRows(rows as unknown as Row[], query.limit);
}

type Row = [number, number, boolean, number | null, number, number | null, ...unknown[]];

function toPageRows(found: Row[], limit: number): PageRows | undefined {
  const head = found[0];
  if (head === undefined) return undefined;
  const [tailOffset, floorOffset, full, last, matched] = head;
  const rows: EventRow[] = [];
  for (const r of found) {
    if (r[5] === null) continue;
    rows.push({
      offset: r[5],
      workflowId: r[6] as string | null,
      taskExecutionId: r[7] as string,
      producerId: r[8] as string,
      sequence: r[9] as number,
      type: r[10] as number,
      payload: toPayload(r[11] as boolean, r[12] as string | null, r[13] as Buffer | null),
      timestampMs: r[14] as number,
      recordedMs: r[15] as number,
    });
  }
  const cut = rows.length < matched || rows.length >= limit;
  const stoppedAt = cut ? rows.at(-1)?.offset : full ? (last ?? undefined) : undefined;
  return { tailOffset, floorOffset, rows, stoppedAt };
}

function toPayload(isText: boolean, text: string | null, bytes: Buffer | null): string | Buffer | null {
  return text ?? (isText && bytes !== null ? bytes.toString("utf8") : bytes);
}
