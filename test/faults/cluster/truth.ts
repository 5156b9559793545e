/** What the tables say, read past all instances: the truth that everybody's history is compared with. */
import type pg from "pg";

export interface StoredRow {
  readonly offset: number;
  readonly workflowId: string;
  readonly task: string;
  readonly producerId: string;
  readonly sequence: number;
  readonly type: number;
  readonly text: string;
}

export interface StoredStream {
  readonly id: string;
  readonly tenant: string;
  /** Of a tree; undefined: of a space. */
  readonly root: string | undefined;
  readonly tail: number;
  readonly floor: number;
  /** By offset, those that were trimmed included. */
  readonly rows: readonly StoredRow[];
}

export interface StoredWorkflow {
  readonly id: string;
  readonly streamId: string;
  readonly path: readonly string[];
  readonly terminalOffset: number | undefined;
  readonly finalOffset: number | undefined;
}

export interface Truth {
  readonly streams: readonly StoredStream[];
  readonly workflows: ReadonlyMap<string, StoredWorkflow>;
  /** Last settled numbers and offsets of sessions, by session id. */
  readonly sessions: ReadonlyMap<string, { readonly lastSequence: number; readonly lastOffset: number }>;
  /** Of "<workflow> <task>": where it ended. */
  readonly taskEnds: ReadonlyMap<string, number>;
}

/** Rows that a trim removed, kept before it did. */
export class Archive {
  readonly #rows = new Map<string, StoredRow[]>();

  /** Raises the floor as retention does: the floor first, committed, then the rows. Returns the floor, 0: nothing to trim. */
  async trim(pool: pg.Pool, root: string, share: number): Promise<number> {
    const found = await pool.query(
      `select stream_id, floor((next_offset - 1) * $2::float8)::bigint as upto, coalesce(floor_offset, 0) as floor
         from workflow join stream using (stream_id) left join stream_floor using (stream_id) where workflow_id = $1`,
      [root, share],
    );
    const [{ stream_id: streamId, upto, floor }] = found.rows;
    if (Number(upto) <= Number(floor)) return 0;
    const kept = this.of(streamId);
    const rows = await readRows(pool, streamId, Number(upto));
    // A trim that was broken off has kept what is still there.
    this.#rows.set(streamId, [...kept.filter((row) => row.offset < (rows[0]?.offset ?? 0)), ...rows]);
    await pool.query(
      `insert into stream_floor values ($1, $2)
       on conflict (stream_id) do update set floor_offset = excluded.floor_offset`,
      [streamId, upto],
    );
    await pool.query(`delete from event where stream_id = $1 and "offset" <= $2`, [streamId, upto]);
    return Number(upto);
  }

  of(streamId: string): readonly StoredRow[] {
    return this.#rows.get(streamId) ?? [];
  }
}

async function readRows(pool: pg.Pool, streamId: string, upTo: number): Promise<StoredRow[]> {
  const { rows } = await pool.query(
    `select "offset", workflow_id, task_execution_id, producer_id, sequence, type, convert_from(payload, 'UTF8') as text
       from event where stream_id = $1 and "offset" <= $2 order by "offset"`,
    [streamId, upTo],
  );
  return rows.map((row) => ({
    offset: Number(row.offset),
    workflowId: row.workflow_id ?? "",
    task: row.task_execution_id,
    producerId: row.producer_id,
    sequence: Number(row.sequence),
    type: row.type,
    text: row.text ?? "",
  }));
}

export async function readTruth(pool: pg.Pool, archive: Archive): Promise<Truth> {
  const found = await pool.query(
    `select s.stream_id, s.tenant_slug, s.next_offset - 1 as tail, coalesce(f.floor_offset, 0) as floor, w.workflow_id as root
       from stream s left join stream_floor f using (stream_id)
       left join workflow w on w.stream_id = s.stream_id and w.parent_workflow_id is null`,
  );
  const streams: StoredStream[] = [];
  for (const row of found.rows) {
    const id: string = row.stream_id;
    const stored = await readRows(pool, id, Number.MAX_SAFE_INTEGER);
    // What a trim kept and had not yet removed when it was broken off is in both.
    const known = archive.of(id).filter(({ offset }) => offset < (stored[0]?.offset ?? Infinity));
    streams.push({
      id,
      tenant: row.tenant_slug,
      root: row.root ?? undefined,
      tail: Number(row.tail),
      floor: Number(row.floor),
      rows: [...known, ...stored],
    });
  }
  const workflows = await pool.query(
    "select workflow_id, stream_id, path, terminal_offset, subtree_final_offset from workflow",
  );
  const sessions = await pool.query(
    "select producer_id, last_sequence, last_offset from producer where epoch > 0",
  );
  const tasks = await pool.query("select workflow_id, task_execution_id, terminal_offset from task");
  return {
    streams,
    workflows: new Map(
      workflows.rows.map((row) => [
        row.workflow_id,
        {
          id: row.workflow_id,
          streamId: row.stream_id,
          path: row.path,
          terminalOffset: toNumber(row.terminal_offset),
          finalOffset: toNumber(row.subtree_final_offset),
        },
      ]),
    ),
    sessions: new Map(
      sessions.rows.map((row) => [
        row.producer_id,
        { lastSequence: Number(row.last_sequence), lastOffset: Number(row.last_offset) },
      ]),
    ),
    taskEnds: new Map(
      tasks.rows.map((row) => [`${row.workflow_id} ${row.task_execution_id}`, Number(row.terminal_offset)]),
    ),
  };
}

const toNumber = (value: unknown): number | undefined => (value === null ? undefined : Number(value));
