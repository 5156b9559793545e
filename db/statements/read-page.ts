/**
 * One page of a stream, of a part of it, or of what of that passes a filter, with the floor and the tail of the same
 * snapshot: they come as a row of their own, before the entries.
 *
 * A page is bounded three ways: by `limit` entries, by `maxBytes` of payload (one larger entry may stand alone), and,
 * where a filter or a subtree may pass over much, by `candidates` entries looked at, so that no page takes long however
 * rare its matches are. A filtered page first looks at keys alone and fetches the payloads of the matches.
 *
 * Adding up the bytes in the database costs as much again as reading small entries. So a page is first read with only the
 * payloads that can do no harm, each at most its share of `maxBytes`; if one was withheld, the page is read again and
 * weighed.
 *
 * What lies at or below the floor is not read, whether its rows are there yet or not.
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
  /** "": none. */
  readonly workflowId: string;
  readonly taskExecutionId: string;
  readonly producerId: string;
  readonly sequence: number;
  readonly type: number;
  /** undefined: none was given. */
  readonly payload: string | Buffer | undefined;
  readonly timestampMs: number;
  readonly recordedMs: number;
  /** Trace context of its writer, as W3C has it; undefined: none. */
  readonly traceparent: string | undefined;
}

export interface PageRows {
  readonly tailOffset: number;
  readonly floorOffset: number;
  /** In the order that was asked for. */
  readonly rows: readonly EventRow[];
  /** The last entry looked at if the page ended early; undefined: all of the range was looked at. */
  readonly stoppedAt: number | undefined;
}

/** What the payload column of a row holds. */
const Kind = { head: -1, none: 0, text: 1, bytes: 2, textAsBytes: 3, withheld: 4 } as const;

export async function readPage(db: Queryable, query: PageQuery): Promise<PageRows | undefined> {
  const light = await run(db, query, false);
  return toPageRows(
    light.some((row) => row[6] === Kind.withheld) ? await run(db, query, true) : light,
    query,
  );
}

/** The head is tail, floor, …, the last candidate, its kind, were there as many as the bound; others: see the query. */
type Row = [offset: number, ...unknown[]];

async function run(db: Queryable, query: PageQuery, weighed: boolean): Promise<Row[]> {
  const byWorkflow = query.workflowId !== undefined && !query.subtree;
  const filtered = query.subtree || query.types !== undefined || query.tasks !== undefined;
  const order = query.descending ? "desc" : "asc";
  const from = "greatest($2, (select max(floor_offset) from stream_floor where stream_id = $1))";
  const bound = query.descending
    ? `e."offset" > ${from} and e."offset" < $3`
    : `e."offset" > ${from} and e."offset" <= $3`;
  const base = byWorkflow ? "e.workflow_id = $4 and e.stream_id = $1" : "e.stream_id = $1";
  const candidate = `candidate as materialized (
      select e."offset", e.workflow_id, e.task_execution_id, e.type from event e
       where ${base} and ${bound} order by e."offset" ${order} limit ${candidates}
    ), hit as materialized (
      select e."offset" from candidate e
       where ${query.subtree ? "exists (select from workflow w where w.workflow_id = e.workflow_id and w.stream_id = $1 and w.path @> array[$4::uuid])" : "true"}
         and ($7::smallint[] is null or e.type = any ($7)) and ($8::text[] is null or e.task_execution_id = any ($8))
       order by e."offset" ${order} limit $5
    )`;
  const matched = filtered
    ? `select e.* from hit join event e on e.stream_id = $1 and e."offset" = hit."offset" order by e."offset" ${order}`
    : `select e.* from event e where ${base} and ${bound} order by e."offset" ${order} limit $5`;
  const picked = weighed
    ? `select m.* from (
         select m.*, count(*) over () as matched, sum(octet_length(payload)) over (order by "offset" ${order} rows unbounded preceding) as bytes,
                row_number() over (order by "offset" ${order}) as no
           from (${matched}) as m
       ) as m where bytes is null or bytes <= $6 or no = 1 order by "offset" ${order}`
    : matched;
  // The order of the cases spares a large payload, which lies elsewhere, from being fetched.
  const kind = `case when payload is null then ${Kind.none}
      ${weighed ? "" : `when octet_length(payload) > $6::int / $5::int then ${Kind.withheld}`}
      when not payload_is_text then ${Kind.bytes}
      when position('\\x00'::bytea in payload) > 0 then ${Kind.textAsBytes} else ${Kind.text} end`;
  const text = `${filtered ? `with ${candidate}` : ""}
    select s.next_offset - 1, coalesce(f.floor_offset, 0), null::uuid, null::text, null::text,
           ${filtered ? `(select ${query.descending ? "min" : "max"}("offset") from candidate)` : "null::bigint"}, ${Kind.head},
           null::text, null::bytea, ${filtered ? `(select count(*) >= ${candidates} from candidate)` : "false"}::int,
           null::bigint, null::bigint, null::text
      from stream s left join stream_floor f using (stream_id)
     where s.stream_id = $1 and ($4::uuid is null or $4 is not null)
    union all (
      select "offset", ${weighed ? "matched" : "null::bigint"}, workflow_id, task_execution_id, producer_id, sequence, kind,
             case when kind = ${Kind.text} then convert_from(payload, 'UTF8') end,
             case when kind in (${Kind.bytes}, ${Kind.textAsBytes}) then payload end,
             type, timestamp_ms, recorded_ms, encode(trace_context, 'hex')
        from (select *, ${kind} as kind from (${picked}) as p offset 0) as k
    )`;
  const { rows } = await db.query({
    name: `read_page_${byWorkflow ? "workflow" : query.subtree ? "subtree" : "stream"}_${filtered ? "filtered" : "all"}_${order}_${weighed ? "weighed" : "light"}`,
    text,
    values: [
      query.streamId,
      query.from,
      query.to,
      query.workflowId ?? null,
      query.limit,
      query.maxBytes,
      ...(filtered ? [query.types ?? null, query.tasks ?? null] : []),
    ],
    rowMode: "array",
    types: {
      getTypeParser: (oid: number) => (oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid)),
    },
  } as pg.QueryArrayConfig);
  return rows as unknown as Row[];
}

function toPageRows(found: Row[], query: PageQuery): PageRows | undefined {
  const at = found.findIndex((row) => row[6] === Kind.head);
  const head = found[at];
  if (head === undefined) return undefined;
  found.splice(at, 1);
  // A union all promises no order, though it keeps it: checked, not believed.
  const direction = query.descending ? -1 : 1;
  if (found.some((row, i) => i > 0 && (row[0] - (found[i - 1] as Row)[0]) * direction < 0)) {
    found.sort((a, b) => (a[0] - b[0]) * direction);
  }
  const rows = found.map(toEventRow);
  const matched = (found[0]?.[1] as number | null | undefined) ?? rows.length;
  const cut = rows.length < matched || rows.length >= query.limit;
  const full = head[9] === 1;
  return {
    tailOffset: head[0],
    floorOffset: head[1] as number,
    rows,
    stoppedAt: cut ? rows.at(-1)?.offset : full ? (head[5] as number) : undefined,
  };
}

function toEventRow(row: Row): EventRow {
  const kind = row[6];
  return {
    offset: row[0],
    workflowId: (row[2] as string | null) ?? "",
    taskExecutionId: row[3] as string,
    producerId: row[4] as string,
    sequence: row[5] as number,
    type: row[9] as number,
    payload:
      kind === Kind.text
        ? (row[7] as string)
        : kind === Kind.bytes
          ? (row[8] as Buffer)
          : kind === Kind.textAsBytes
            ? (row[8] as Buffer).toString("utf8")
            : undefined,
    timestampMs: row[10] as number,
    recordedMs: row[11] as number,
    traceparent: toTraceparent(row[12] as string | null),
  };
}

/** From 16 bytes of trace id, 8 of span id, 1 of flags, as hexadecimal digits. */
const toTraceparent = (hex: string | null): string | undefined =>
  hex === null ? undefined : `00-${hex.slice(0, 32)}-${hex.slice(32, 48)}-${hex.slice(48)}`;
