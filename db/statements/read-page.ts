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
 * Rows come in binary (copy-out.ts): a page of 1,000 entries of 100 bytes takes half of what it took as text.
 */
import { type BinaryRow, copyOut, literal } from "../copy-out.ts";
import type { Pool } from "../pool.ts";

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

export async function readPage(pool: Pool, query: PageQuery): Promise<PageRows | undefined> {
  const light = await run(pool, query, false);
  return toPageRows(light.withheld ? await run(pool, query, true) : light, query);
}

interface Head {
  readonly tailOffset: number;
  readonly floorOffset: number;
  /** Of a filtered page: the last entry looked at, and whether there may be more beyond it. */
  readonly lastCandidate: number | undefined;
  readonly isFull: boolean;
}

interface Found {
  head: Head | undefined;
  readonly rows: EventRow[];
  /** How many matched: of a weighed page, which may have fewer. */
  matched: number | undefined;
  /** A payload is missing because the page was not weighed. */
  withheld: boolean;
}

async function run(pool: Pool, query: PageQuery, weighed: boolean): Promise<Found> {
  const found: Found = { head: undefined, rows: [], matched: undefined, withheld: false };
  let last: EventRow | undefined;
  await copyOut(pool, toStatement(query, weighed), (row) => {
    const taskExecutionId = row.text(last?.taskExecutionId);
    if (taskExecutionId === undefined) {
      found.head = toHead(row);
      return;
    }
    const offset = row.int8() as number;
    found.matched = row.int8();
    const sequence = row.int8() as number;
    const type = row.int2() as number;
    const workflowId = row.uuid() ?? "";
    const producerId = row.text(last?.producerId) as string;
    const timestampMs = row.int8() as number;
    const recordedMs = row.int8() as number;
    const traceparent = toTraceparent(row.bytes());
    const payloadSize = row.int4();
    const payload = row.boolean() ? row.text() : row.bytes();
    if (payload === undefined && payloadSize !== undefined) found.withheld = true;
    last = {
      offset,
      workflowId,
      taskExecutionId,
      producerId,
      sequence,
      type,
      payload,
      timestampMs,
      recordedMs,
      traceparent,
    };
    found.rows.push(last);
  });
  return found;
}

/** Its columns are read above, in their order. The head has no task. */
function toStatement(query: PageQuery, weighed: boolean): string {
  const { types, tasks, subtree, descending } = query;
  const stream = literal.uuid(query.streamId);
  const workflow = query.workflowId === undefined ? undefined : literal.uuid(query.workflowId);
  const limit = literal.integer(query.limit);
  const filtered = subtree || types !== undefined || tasks !== undefined;
  const order = descending ? "desc" : "asc";
  const from = `greatest(${literal.integer(query.from)}, (select max(floor_offset) from stream_floor where stream_id = ${stream}))`;
  const bound = `e."offset" > ${from} and e."offset" ${descending ? "<" : "<="} ${literal.integer(query.to)}`;
  const base =
    workflow === undefined || subtree
      ? `e.stream_id = ${stream}`
      : `e.workflow_id = ${workflow} and e.stream_id = ${stream}`;
  const tests = [
    subtree &&
      `exists (select from workflow w where w.workflow_id = e.workflow_id and w.stream_id = ${stream} and w.path @> array[${workflow}])`,
    types && `e.type = any (array[${types.map(literal.integer).join()}]::smallint[])`,
    tasks && `e.task_execution_id = any (array[${tasks.map(literal.text).join()}]::text[])`,
  ].filter((test) => typeof test === "string");
  const candidate = `candidate as materialized (
      select e."offset", e.workflow_id, e.task_execution_id, e.type from event e
       where ${base} and ${bound} order by e."offset" ${order} limit ${candidates}
    ), hit as materialized (
      select e."offset" from candidate e where ${tests.join(" and ")} order by e."offset" ${order} limit ${limit}
    )`;
  const matched = filtered
    ? `select e.* from hit join event e on e.stream_id = ${stream} and e."offset" = hit."offset" order by e."offset" ${order}`
    : `select e.* from event e where ${base} and ${bound} order by e."offset" ${order} limit ${limit}`;
  const picked = weighed
    ? `select m.* from (
         select m.*, count(*) over () as matched, sum(octet_length(payload)) over (order by "offset" ${order} rows unbounded preceding) as bytes,
                row_number() over (order by "offset" ${order}) as no
           from (${matched}) as m
       ) as m where bytes is null or bytes <= ${literal.integer(query.maxBytes)} or no = 1 order by "offset" ${order}`
    : matched;
  const share = literal.integer(Math.floor(query.maxBytes / query.limit));
  // A large payload lies elsewhere: its size is known without it.
  const payload = weighed ? "payload" : `case when octet_length(payload) <= ${share} then payload end`;
  return `${filtered ? `with ${candidate}` : ""}
    select null::text, s.next_offset - 1, coalesce(f.floor_offset, 0),
           ${filtered ? `(select ${descending ? "min" : "max"}("offset") from candidate)` : "null::bigint"},
           ${filtered ? `(select count(*) >= ${candidates} from candidate)::int` : "0"}::smallint,
           null::uuid, null::text, null::bigint, null::bigint, null::bytea, null::int, null::boolean, null::bytea
      from stream s left join stream_floor f using (stream_id) where s.stream_id = ${stream}
    union all (
      select task_execution_id, "offset", ${weighed ? "matched" : "null::bigint"}, sequence, type,
             workflow_id, producer_id, timestamp_ms, recorded_ms, trace_context,
             octet_length(payload), payload_is_text, ${payload}
        from (${picked}) as p
    )`;
}

const toHead = (row: BinaryRow): Head => ({
  tailOffset: row.int8() as number,
  floorOffset: row.int8() as number,
  lastCandidate: row.int8(),
  isFull: row.int2() === 1,
});

function toPageRows({ head, rows, matched = rows.length }: Found, query: PageQuery): PageRows | undefined {
  if (head === undefined) return undefined;
  // A union all promises no order, though it keeps it: checked, not believed.
  const direction = query.descending ? -1 : 1;
  if (rows.some((row, i) => i > 0 && (row.offset - (rows[i - 1] as EventRow).offset) * direction < 0)) {
    rows.sort((a, b) => (a.offset - b.offset) * direction);
  }
  const cut = rows.length < matched || rows.length >= query.limit;
  return {
    tailOffset: head.tailOffset,
    floorOffset: head.floorOffset,
    rows,
    stoppedAt: cut ? rows.at(-1)?.offset : head.isFull ? head.lastCandidate : undefined,
  };
}

/** From 16 bytes of trace id, 8 of span id, 1 of flags. */
function toTraceparent(bytes: Buffer | undefined): string | undefined {
  if (bytes === undefined) return undefined;
  const hex = bytes.toString("hex");
  return `00-${hex.slice(0, 32)}-${hex.slice(32, 48)}-${hex.slice(48)}`;
}
