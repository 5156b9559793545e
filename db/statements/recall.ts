/**
 * Recalling observations: the best of a snapshot, and those of a range in order.
 *
 * The score of a text match is 0.6 · text + 0.2 · importance + 0.1 · confidence + 0.1 · recency, each 0–1 (docs/memory.md):
 * text is Postgres' cover density rank with all weights 1, as rank / (rank + 1); recency halves every 7 days. In a snapshot
 * it is divided by the best one's. Only the newest 5,000 matches are ranked: to rank takes longer than to find. To find them grows with
 * the matches of the space, about 1 µs each, since Postgres collects and sorts them all; of a range in order at most 10,000 are looked at.
 *
 * What lies at or below the floor is not found, whether its rows are there yet or not.
 *
 * These statements have no name on purpose: a plan made for the words that are asked for tells a rare one, which the index
 * finds, from one that every observation has. The query is joined with the space's own word (see observation_search).
 */
import pg from "pg";
import type { Queryable } from "../pool.ts";

export type CueQuery =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "time"; readonly fromMs: number; readonly toMs: number }
  | { readonly kind: "session"; readonly sessionId: string };

export interface RankedRow {
  readonly offset: number;
  readonly score: number;
  readonly bytes: number;
}

export interface ObservationRow {
  readonly offset: number;
  readonly observationId: string;
  readonly sessionId: string;
  readonly content: string;
  readonly metadata: Record<string, string>;
  readonly confidence: number;
  readonly importance: number;
  readonly observedMs: number;
  readonly recordedMs: number;
}

/** So many matches are ranked, the newest. */
const rankedMatches = 5000;
const halfLifeMs = 7 * 24 * 3600 * 1000;

const types = {
  getTypeParser: (oid: number) => (oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid)),
};

/** Is it above the floor of its stream, $1? */
const isKept = `o."offset" > coalesce((select max(floor_offset) from stream_floor where stream_id = $1), 0)`;

/** Conditions on `o` with the parameters $2 and $3, and the score of a match at the time $4. */
function toSql(cue: CueQuery, streamId: string): { match: string; score: string; values: unknown[] } {
  switch (cue.kind) {
    case "text":
      return {
        match: `o.search @@ (websearch_to_tsquery('simple', $2) && $3::tsquery)`,
        // An exponent that Postgres can take, however old.
        score: `(0.6 * ts_rank_cd('{1,1,1,1}', o.search, websearch_to_tsquery('simple', $2), 32) + 0.2 * o.importance
                 + 0.1 * o.confidence
                 + 0.1 * power(2::float8, -least(greatest($4::float8 - o.observed_ms, 0) / ${halfLifeMs}, 100)))`,
        values: [cue.text, `'@${streamId}'`],
      };
    case "time":
      return {
        match:
          "o.observed_ms >= $2::bigint and ($3::bigint = 0 or o.observed_ms < $3) and $4::float8 is not null",
        score: "1::float8",
        values: [cue.fromMs, cue.toMs],
      };
    case "session":
      return {
        match: "o.session_id = $2::uuid and $3::bool and $4::float8 is not null",
        score: "1::float8",
        values: [cue.sessionId, true],
      };
  }
}

/** Is there a word in the text that can be looked for? */
export async function hasWords(db: Queryable, text: string): Promise<boolean> {
  const { rows } = await db.query({
    name: "cue_has_words",
    text: "select numnode(websearch_to_tsquery('simple', $1)) > 0 as found",
    values: [text],
  });
  return rows[0].found;
}

/** The best matches up to an offset, best first: of a text by score, of a time newest first, of a session in order. */
export async function rankObservations(
  db: Queryable,
  streamId: string,
  cue: CueQuery,
  options: { upTo: number; limit: number; minScore: number; nowMs: number },
): Promise<RankedRow[]> {
  const { match, score, values } = toSql(cue, streamId);
  const where = `o.stream_id = $1 and o."offset" <= $5 and ${isKept} and ${match}`;
  const best = {
    text: `select "offset", score from (
             select "offset", coalesce(raw / nullif(max(raw) over (), 0), 1)::real as score from (
               select o."offset", ${score} as raw from (
                 select o.* from observation o where ${where} order by o."offset" desc limit ${rankedMatches}) as o) as o) as o
            where score >= $7::real order by score desc, "offset" desc limit $6`,
    time: `select o."offset", 1::real as score from observation o where ${where} and $7::real <= 1
            order by o.observed_ms desc, o."offset" desc limit $6`,
    session: `select o."offset", 1::real as score from observation o where ${where} and $7::real <= 1
               order by o."offset" limit $6`,
  }[cue.kind];
  const { rows } = await db.query({
    text: `select b."offset", b.score, octet_length(e.payload) + octet_length(o.metadata::text) + 400 as bytes
             from (select *, row_number() over () as no from (${best}) as b) as b
             join observation o on o.stream_id = $1 and o."offset" = b."offset"
             join event e on e.stream_id = $1 and e."offset" = b."offset" order by b.no`,
    values: [streamId, ...values, options.nowMs, options.upTo, options.limit, options.minScore],
    types,
  });
  return rows;
}

const columns = `o."offset", o.observation_id as "observationId", o.session_id as "sessionId",
  convert_from(e.payload, 'UTF8') as content, o.metadata, o.confidence, o.importance, o.observed_ms as "observedMs",
  e.recorded_ms as "recordedMs"`;

/** Those of these offsets that are there, in any order. */
export async function readObservations(
  db: Queryable,
  streamId: string,
  offsets: readonly number[],
): Promise<ObservationRow[]> {
  const { rows } = await db.query({
    name: "read_observations",
    text: `select ${columns} from observation o join event e using (stream_id, "offset")
            where o.stream_id = $1 and o."offset" = any ($2::bigint[]) and ${isKept}`,
    values: [streamId, offsets],
    types,
  });
  return rows;
}

export async function findObservationId(
  db: Queryable,
  streamId: string,
  observationId: string,
): Promise<ObservationRow | undefined> {
  const { rows } = await db.query({
    name: "find_observation",
    text: `select ${columns} from observation o join event e using (stream_id, "offset")
            where o.stream_id = $1 and o.observation_id = $2 and ${isKept}`,
    values: [streamId, observationId],
    types,
  });
  return rows[0];
}

export interface MatchRows {
  readonly floorOffset: number;
  readonly rows: readonly (ObservationRow & { readonly score: number })[];
  /** Were there more than these? */
  readonly cut: boolean;
}

/** Matches after `cursor` up to `upTo`, in order, with the floor of the same snapshot. undefined: no such stream. */
export async function readMatches(
  db: Queryable,
  streamId: string,
  cue: CueQuery,
  options: { cursor: number; upTo: number; limit: number; maxBytes: number; nowMs: number },
): Promise<MatchRows | undefined> {
  const { match, score, values } = toSql(cue, streamId);
  const { rows } = await db.query({
    text: `with hit as (
             select o.*, ${score} as score from observation o
              where o.stream_id = $1 and o."offset" > $5 and o."offset" <= $6 and ${isKept} and ${match} order by o."offset" limit $7
           ), weighed as (
             select ${columns}, o.score, count(*) over () as found, row_number() over (order by o."offset") as no,
                    sum(octet_length(e.payload) + octet_length(o.metadata::text) + 400) over (order by o."offset") as bytes
               from hit o join event e using (stream_id, "offset")
           )
           select coalesce(f.floor_offset, 0) as "floorOffset", w.*
             from stream s left join stream_floor f using (stream_id)
             left join weighed w on w.bytes <= $8 or w.no = 1
            where s.stream_id = $1 order by w.no`,
    values: [
      streamId,
      ...values,
      options.nowMs,
      options.cursor,
      options.upTo,
      options.limit,
      options.maxBytes,
    ],
    types,
  });
  const [head] = rows;
  if (head === undefined) return undefined;
  const found = rows.filter((row) => row.offset !== null);
  return {
    floorOffset: head.floorOffset,
    rows: found,
    cut: found.length > 0 && (found.length < head.found || found.length >= options.limit),
  };
}
