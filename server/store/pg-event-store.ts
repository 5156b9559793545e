/**
 * EventStore on Postgres. `append` goes through the function of that name on one of a few commit connections;
 * everything else is a read on one of two pools: pages have their own, so that a flood of them does not delay the rest.
 */
import { createPool, type DatabaseOptions, type Pool } from "../../db/pool.ts";
import { pageSettings, readPage } from "../../db/statements/read-page.ts";
import { readParents } from "../../db/statements/read-parents.ts";
import { readScope, readSpaceScope } from "../../db/statements/read-scope.ts";
import { readTails } from "../../db/statements/read-tails.ts";
import { limits } from "../core/limits.ts";
import type { EventStore, Page, PageRequest, ScopeKey, ScopeState } from "../core/ports.ts";
import { toAppendGroup, toGroupResult } from "./append-group.ts";
import { CommitConnection } from "./commit-connection.ts";
import { reading } from "./store-errors.ts";
import { WordIndex } from "./word-index.ts";

export interface PgEventStore extends EventStore {
  /** For all reads but pages. */
  readonly pool: Pool;
  /** Both, which together have `poolSize` connections. */
  readonly pools: readonly Pool[];
  close(): Promise<void>;
}

export function createPgEventStore(options: DatabaseOptions & { commitConnections: number }): PgEventStore {
  const pageConnections = Math.max(1, Math.floor(options.poolSize / 2));
  const pages = createPool({ ...options, poolSize: pageConnections }, pageSettings);
  const pool = createPool({ ...options, poolSize: Math.max(1, options.poolSize - pageConnections) });
  const words = new WordIndex(pool, options.onError);
  const connections = Array.from({ length: options.commitConnections }, () => new CommitConnection(options));
  return {
    pool,
    pools: [pool, pages],
    async append(connection, commands) {
      const commit = connections[connection];
      if (commit === undefined) throw new RangeError(`no commit connection ${connection}`);
      const group = toAppendGroup(commands);
      const answer = await commit.append(group);
      if (group.observationId.length > 0) words.note();
      return toGroupResult(commands, group, answer);
    },
    readScope: (streamId, scope) => reading(() => scopeState(pool, streamId, scope)),
    readPage: (request) => reading(() => page(pages, request)),
    readTails: (streamIds) => reading(() => readTails(pool, streamIds)),
    readParents: (streamId) => reading(() => readParents(pool, streamId)),
    async close() {
      await words.close();
      await Promise.all([...connections.map((connection) => connection.close()), pool.end(), pages.end()]);
    },
  };
}

async function scopeState(pool: Pool, streamId: string, scope: ScopeKey): Promise<ScopeState | undefined> {
  const task = scope.kind === "task" ? scope.taskExecutionId : "";
  const row =
    scope.workflowId === ""
      ? await readSpaceScope(pool, streamId)
      : await readScope(pool, streamId, scope.workflowId, task);
  if (row === undefined) return undefined;
  const finalOffset =
    scope.kind === "task"
      ? (row.taskTerminalOffset ?? row.terminalOffset)
      : scope.kind === "workflow"
        ? row.terminalOffset
        : row.subtreeFinalOffset;
  return {
    streamId,
    epoch: row.epoch,
    tailOffset: row.tailOffset,
    floorOffset: row.floorOffset,
    status: row.status,
    openInSubtree: row.openInSubtree,
    finalOffset,
    taskOutcome: row.taskTerminalType,
  };
}

async function page(pool: Pool, request: PageRequest): Promise<Page | undefined> {
  const { scope, filter, descending } = request;
  const found = await readPage(pool, {
    streamId: request.streamId,
    workflowId: scope.kind === "tree" ? undefined : scope.workflowId,
    subtree: scope.kind === "subtree",
    types: filter.types,
    tasks: tasksOf(scope, filter.tasks),
    from: descending ? 0 : request.cursor,
    to: descending ? request.cursor : request.upTo,
    descending,
    limit: request.limit,
    maxBytes: limits.batchBytes,
  });
  if (found === undefined) return undefined;
  return {
    events: found.rows,
    scannedTo: found.stoppedAt ?? (descending ? 0 : request.upTo),
    floorOffset: found.floorOffset,
    tailOffset: found.tailOffset,
  };
}

function tasksOf(scope: ScopeKey, asked: readonly string[] | undefined): readonly string[] | undefined {
  if (scope.kind !== "task") return asked;
  return asked === undefined || asked.includes(scope.taskExecutionId) ? [scope.taskExecutionId] : [];
}
