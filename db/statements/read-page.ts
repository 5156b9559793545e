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
 * Rows come in binary (binary-rows.ts), and most pages by a plan that was made before: to parse and plan this takes as long as to
 * read 200 entries.
 */
import { type BinaryRow, columnAfter, columnsAt, int8, isNull } from "../binary-row.ts";
import { queryRows, type Statement } from "../binary-rows.ts";
import type { Pool } from "../pool.ts";
import { StoredRow, storedColumns } from "./stored-row.ts";

/**
 * For the connections on which pages are read. The planner knows neither how many entries there are behind an offset nor that the
 * first thousand of them are wanted at once: where it believes in few it collects all of them and sorts, for each page again,
 * which took 90 ms instead of 2 with 200,000 of them. An index has them in order.
 */
export const pageSettings = ["enable_sort = off", "enable_incremental_sort = off"];

/** Entries looked at for one filtered page. */
const candidates = 10_000;
/** A statement with these bounds is planned once and for all: their number is written into it. */
const usualLimit = 1000;
const usualBytes = 1024 * 1024;

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

export interface PageRows {
  readonly tailOffset: number;
  readonly floorOffset: number;
  /** In the order that was asked for. */
  readonly rows: readonly StoredRow[];
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
  readonly rows: StoredRow[];
  /** How many matched: of a weighed page, which may have fewer. */
  matched: number | undefined;
  /** A payload is missing because the page was not weighed. */
  withheld: boolean;
}

async function run(pool: Pool, query: PageQuery, weighed: boolean): Promise<Found> {
  const found: Found = { head: undefined, rows: [], matched: undefined, withheld: false };
  await queryRows(pool, pageStatement(query, weighed), (row) => {
    if (isHead(row)) {
      found.head = toHead(row);
      return;
    }
    const stored = new StoredRow(row);
    found.rows.push(stored);
    if (weighed) found.matched = stored.further;
    else if (endsInNull(row) && stored.isWithheld) found.withheld = true;
  });
  return found;
}

/** The head has no type. */
const isHead = ({ of, start }: BinaryRow): boolean => isNull(of, start + columnsAt);

/** If its last column is null, it does. Cheaper than to look for that one. */
const endsInNull = ({ of, end }: BinaryRow): boolean => isNull(of, end - 4);

/** Its columns are those of `StoredRow`, and of a weighed page how many matched. The head has its own numbers in their places. */
export function pageStatement(query: PageQuery, weighed: boolean): Statement {
  const { types, tasks, subtree, descending, limit, maxBytes } = query;
  if (!Number.isSafeInteger(limit) || !Number.isSafeInteger(maxBytes))
    throw new RangeError("bounds are integers");
  const values: unknown[] = [];
  const value = (of: unknown, type: string): string => `$${values.push(of)}::${type}`;
  const stream = value(query.streamId, "uuid");
  const workflow = query.workflowId === undefined ? undefined : value(query.workflowId, "uuid");
  const filtered = subtree || types !== undefined || tasks !== undefined;
  const order = descending ? "desc" : "asc";
  const from = `greatest(${value(query.from, "bigint")}, (select max(floor_offset) from stream_floor where stream_id = ${stream}))`;
  const bound = `e."offset" > ${from} and e."offset" ${descending ? "<" : "<="} ${value(query.to, "bigint")}`;
  const base =
    workflow === undefined || subtree
      ? `e.stream_id = ${stream}`
      : `e.workflow_id = ${workflow} and e.stream_id = ${stream}`;
  const tests = [
    subtree &&
      `exists (select from workflow w where w.workflow_id = e.workflow_id and w.stream_id = ${stream} and w.path @> array[${workflow}])`,
    types && `e.type = any (${value(types, "smallint[]")})`,
    tasks && `e.task_execution_id = any (${value(tasks, "text[]")})`,
  ].filter((test) => typeof test === "string");
  // Bounds are written out: a plan for any number of rows might sort a whole stream.
  const candidate = `candidate as materialized (
      select e.ctid, e."offset", e.workflow_id, e.task_execution_id, e.type from event e
       where ${base} and ${bound} order by e."offset" ${order} limit ${candidates}
    ), hit as materialized (
      select e.ctid from candidate e where ${tests.join(" and ")} order by e."offset" ${order} limit ${limit}
    )`;
  // Each fetched from where it lies. By a join the whole stream might be read for a few matches.
  const matched = filtered
    ? "select e.* from hit, lateral (select * from event where ctid = hit.ctid limit 1) as e"
    : `select e.* from event e where ${base} and ${bound} order by e."offset" ${order} limit ${limit}`;
  const picked = weighed
    ? `select m.* from (
         select m.*, count(*) over () as matched, sum(octet_length(payload)) over (order by "offset" ${order} rows unbounded preceding) as bytes,
                row_number() over (order by "offset" ${order}) as no
           from (${matched}) as m
       ) as m where bytes is null or bytes <= ${maxBytes} or no = 1 order by "offset" ${order}`
    : matched;
  // A large payload lies elsewhere: its size is known without it.
  const share = Math.floor(maxBytes / limit);
  const payload = weighed ? "payload" : `case when octet_length(payload) <= ${share} then payload end`;
  const text = `${filtered ? `with ${candidate}` : ""}
    select null::smallint, s.next_offset - 1, coalesce(f.floor_offset, 0),
           ${filtered ? `(select ${descending ? "min" : "max"}("offset") from candidate)` : "null::bigint"},
           ${filtered ? `(select count(*) >= ${candidates} from candidate)::int` : "0"}::bigint,
           null::uuid, null::text, null::text, null::bytea, null::boolean, null::bytea${weighed ? ", null::bigint" : ""}
      from stream s left join stream_floor f using (stream_id) where s.stream_id = ${stream}
    union all (
      select ${storedColumns}, case when payload is not null then payload_is_text end, ${payload}${weighed ? ", matched" : ""}
        from (${picked}) as p
    )`;
  return { name: nameOf(query, weighed), text, values };
}

/** Of those that all readers who are behind ask for. */
function nameOf(query: PageQuery, weighed: boolean): string | undefined {
  if (query.limit !== usualLimit || query.maxBytes !== usualBytes) return undefined;
  const part = query.workflowId === undefined ? "stream" : query.subtree ? "subtree" : "workflow";
  const filters = [
    query.types && "types",
    query.tasks && "tasks",
    query.descending && "falling",
    weighed && "weighed",
  ];
  return ["read_page", part, ...filters.filter((filter) => typeof filter === "string")].join("_");
}

function toHead({ of, start }: BinaryRow): Head {
  const tailAt = columnAfter(of, start + columnsAt);
  const floorAt = columnAfter(of, tailAt);
  const lastAt = columnAfter(of, floorAt);
  return {
    tailOffset: int8(of, tailAt),
    floorOffset: int8(of, floorAt),
    lastCandidate: isNull(of, lastAt) ? undefined : int8(of, lastAt),
    isFull: int8(of, columnAfter(of, lastAt)) === 1,
  };
}

function toPageRows({ head, rows, matched = rows.length }: Found, query: PageQuery): PageRows | undefined {
  if (head === undefined) return undefined;
  // A union all promises no order, though it keeps it: checked, not believed.
  const direction = query.descending ? -1 : 1;
  if (rows.some((row, i) => i > 0 && (row.offset - (rows[i - 1] as StoredRow).offset) * direction < 0)) {
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
