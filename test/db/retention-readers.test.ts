/**
 * A trim at any moment of a reader's life: what the reader gets and the gaps it is told of are together exactly its scope
 * and filter, and nothing at or below a gap comes after it. The floor alone, as a sweep that died leaves it, and with its
 * rows deleted.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createMemoryBus } from "../../server/bus/memory-bus.ts";
import { systemClock } from "../../server/core/clock.ts";
import type { Command } from "../../server/core/command.ts";
import { EventType } from "../../server/core/event.ts";
import { follow } from "../../server/core/follow.ts";
import { defaultHubOptions, Hub } from "../../server/core/hub.ts";
import type { Bus, EventStore, ScopeKey } from "../../server/core/ports.ts";
import { Traffic } from "../../server/core/traffic.ts";
import { createPgEventStore, type PgEventStore } from "../../server/store/pg-event-store.ts";
import { anEvent, close, create, entries } from "../support/commands.ts";
import { readAll } from "../support/core-server.ts";
import { newId, useDatabase } from "../support/database.ts";
import { someOf } from "../support/random.ts";
import { until } from "../support/until.ts";

const database = useDatabase();
let store: PgEventStore;
beforeAll(() => {
  store = createPgEventStore({
    url: database.url,
    poolSize: 4,
    connectTimeoutMs: 5000,
    statementTimeoutMs: 10_000,
    onError: () => {},
    commitConnections: 1,
  });
});
afterAll(() => store.close());

/** Called around each read, as "before readPage 2". */
let atPoint: (point: string) => Promise<void> = async () => {};
const counts = new Map<string, number>();
beforeEach(() => {
  atPoint = async () => {};
  counts.clear();
});

function hooked<A extends unknown[], R>(name: string, read: (...args: A) => Promise<R>) {
  return async (...args: A): Promise<R> => {
    const count = (counts.get(name) ?? 0) + 1;
    counts.set(name, count);
    await atPoint(`before ${name} ${count}`);
    const answer = await read(...args);
    await atPoint(`after ${name} ${count}`);
    return answer;
  };
}

function openHub(bus: Pick<Bus, "subscribe">, tailCheckIntervalMs = 50) {
  const reading: Pick<EventStore, "readScope" | "readPage" | "readTails" | "readParents"> = {
    readScope: hooked("readScope", store.readScope),
    readPage: hooked("readPage", (request) =>
      store.readPage({ ...request, limit: Math.min(request.limit, 7) }),
    ),
    readTails: hooked("readTails", store.readTails),
    readParents: hooked("readParents", store.readParents),
  };
  const failures: string[] = [];
  const hub = new Hub(
    {
      store: reading,
      bus,
      clock: systemClock,
      traffic: new Traffic(),
      onFailure: (message, error) => failures.push(`${message}: ${error.message}`),
    },
    { ...defaultHubOptions, tailCheckIntervalMs, window: { entries: 6, bytes: 1_000_000 } },
  );
  return { hub, reading, failures };
}

const run = (command: Command) => store.append(0, [command]);
const publish = (stream: string, workflowId: string, count: number, task = "task") =>
  run(
    entries(
      stream,
      Array.from({ length: count }, (_, i) =>
        anEvent({ workflowId, taskExecutionId: task, type: i % 2 === 0 ? EventType.TOKEN : EventType.DATA }),
      ),
    ),
  );

/** Root, child and grandchild with 40 entries in all. */
async function aTree() {
  const [root, child, grandchild] = [newId(), newId(), newId()];
  await run(create(root, { workflowId: root }));
  await run(create(root, { workflowId: child, parentWorkflowId: root }));
  await run(create(root, { workflowId: grandchild, parentWorkflowId: child }));
  for (let round = 0; round < 4; round++) {
    await publish(root, root, 3);
    await publish(root, child, 3, round % 2 === 0 ? "task" : "other");
    await publish(root, grandchild, 3);
  }
  return { root, child, grandchild };
}

async function trim(stream: string, floor: number, withRows: boolean): Promise<void> {
  await database.pool.query("select retention_set_floors(array[$1::uuid], array[$2::bigint])", [
    stream,
    floor,
  ]);
  if (withRows) await database.pool.query("select retention_delete_entries($1, 1000)", [stream]);
}

type Tree = Awaited<ReturnType<typeof aTree>>;
interface Kept {
  readonly offset: number;
  readonly workflow_id: string;
  readonly task: string;
  readonly type: number;
}

/** Everything that is in the table now. */
const readAllRows = async (stream: string): Promise<Kept[]> =>
  (
    await database.pool.query(
      `select "offset"::int, workflow_id, task_execution_id as task, type from event where stream_id = $1 order by 1`,
      [stream],
    )
  ).rows;

const scopes: Record<string, { key: (tree: Tree) => ScopeKey; has: (tree: Tree, row: Kept) => boolean }> = {
  tree: { key: ({ root }) => ({ kind: "tree", workflowId: root }), has: () => true },
  subtree: {
    key: ({ child }) => ({ kind: "subtree", workflowId: child }),
    has: ({ child, grandchild }, row) => row.workflow_id === child || row.workflow_id === grandchild,
  },
  workflow: {
    key: ({ child }) => ({ kind: "workflow", workflowId: child }),
    has: ({ child }, row) => row.workflow_id === child,
  },
  task: {
    key: ({ child }) => ({ kind: "task", workflowId: child, taskExecutionId: "task" }),
    has: ({ child }, row) => row.workflow_id === child && row.task === "task",
  },
};

describe.each(Object.keys(scopes))("a reader of a %s is told of a trim, and misses nothing else", (name) => {
  const points = [
    ...["readTails 1", "readScope 1", "readPage 1", "readPage 2", "readPage 4"].flatMap((read) => [
      `before ${read}`,
      `after ${read}`,
    ]),
    "live",
  ];
  test.each(someOf(points, 5))("%s", async (point) => {
    const scope = scopes[name] as (typeof scopes)[string];
    for (const floor of [4, 23, 100]) {
      for (const [withRows, types] of [
        [true, undefined],
        [false, [EventType.DATA]],
      ] as const) {
        counts.clear();
        const tree = await aTree();
        const kept = new Map<number, Kept>();
        const keep = async () => {
          for (const row of await readAllRows(tree.root)) kept.set(row.offset, row);
        };
        await keep();
        let trimmed = false;
        const trimOnce = async () => {
          if (trimmed) return;
          trimmed = true;
          await trim(tree.root, floor, withRows);
        };
        atPoint = async (at) => {
          if (at === point) await trimOnce();
        };
        const { hub, reading, failures } = openHub(createMemoryBus());
        const call = { closing: undefined, onClosing: () => () => {} };
        const request = {
          ...readAll,
          streamId: tree.root,
          scope: scope.key(tree),
          filter: { types, tasks: undefined },
        };
        const got: number[] = [];
        const gaps: { from: number; to: number }[] = [];
        let ended: number | undefined;
        let position = 0;
        const reader = (async () => {
          const signal = AbortSignal.timeout(20_000);
          for await (const message of follow(
            { hub, store: reading, clock: systemClock },
            request,
            call,
            signal,
          )) {
            if (message.kind === "gap") {
              expect(message.from).toBeGreaterThan(position);
              gaps.push(message);
              position = message.to;
            }
            if (message.kind === "events") {
              for (const { offset } of message.events) {
                expect(offset, "rising, and above what was declared").toBeGreaterThan(position);
                position = offset;
                got.push(offset);
              }
            }
            if (message.kind === "ended") ended = message.finalOffset;
          }
        })();
        await until(() => expect(counts.get("readScope")).toBe(1));
        if (point === "live") {
          await until(() => expect(got.length).toBeGreaterThan(0));
          await trimOnce();
        }
        await publish(tree.root, tree.grandchild, 5);
        await publish(tree.root, tree.child, 2);
        await run(close(tree.root, tree.root, true));
        await keep();
        await reader;
        await hub.close();
        const wanted = [...kept.values()].filter(
          (row) =>
            scope.has(tree, row) &&
            (types === undefined || (types as readonly number[]).includes(row.type)) &&
            !gaps.some(({ from, to }) => row.offset >= from && row.offset <= to),
        );
        const final = [...kept.values()].findLast(
          (row) => row.type === EventType.WORKFLOW_CANCELLED || row.type === 21,
        );
        expect(final).toBeDefined();
        const limit = ended ?? 0;
        expect(got.filter((offset) => offset <= limit)).toEqual(
          wanted.filter(({ offset }) => offset <= limit).map(({ offset }) => offset),
        );
        expect(
          got.filter((offset) => offset > limit),
          "nothing after the end",
        ).toEqual([]);
        expect(failures).toEqual([]);
      }
    }
  });
});

test("a child whose creation was trimmed before the hub came there belongs to its subtree all the same", async () => {
  const tree = await aTree();
  const memory = createMemoryBus();
  const { hub, reading } = openHub(memory, 1_000_000);
  const call = { closing: undefined, onClosing: () => () => {} };
  const request = {
    ...readAll,
    streamId: tree.root,
    scope: { kind: "subtree", workflowId: tree.child },
    start: "latest",
  } as const;
  const abort = new AbortController();
  const got: string[] = [];
  const reader = (async () => {
    for await (const message of follow(
      { hub, store: reading, clock: systemClock },
      request,
      call,
      abort.signal,
    )) {
      got.push(
        message.kind === "events" ? `events ${message.events.map(({ offset }) => offset)}` : message.kind,
      );
    }
  })().catch(() => {});
  await until(() => expect(got).toEqual(["opened"]));
  const late = newId();
  // Nobody tells the hub.
  await run(create(tree.root, { workflowId: late, parentWorkflowId: tree.grandchild }));
  await trim(tree.root, 40, true);
  await publish(tree.root, late, 2);
  memory.publish({ streamId: tree.root, from: 41, to: 42, entries: undefined });
  await until(() => expect(got).toEqual(["opened", "gap", "events 41,42"]));
  await publish(tree.root, late, 2);
  memory.publish({ streamId: tree.root, from: 43, to: 44, entries: undefined });
  await until(() => expect(got.at(-1)).toBe("events 43,44"));
  abort.abort();
  await reader;
  await hub.close();
});

test("pages hold nothing below the floor, whether it is deleted yet or not, in whatever direction", async () => {
  const { root, child } = await aTree();
  await trim(root, 20, false);
  const page = (scope: ScopeKey, descending: boolean, types?: number[]) =>
    store.readPage({
      streamId: root,
      scope,
      filter: { types, tasks: undefined },
      cursor: descending ? 1000 : 0,
      upTo: 1000,
      descending,
      limit: 100,
    });
  for (const scope of [
    { kind: "tree", workflowId: root },
    { kind: "subtree", workflowId: child },
    { kind: "workflow", workflowId: child },
  ] as const) {
    for (const descending of [false, true]) {
      for (const types of [undefined, [EventType.TOKEN]]) {
        const found = await page(scope, descending, types);
        expect(found).toMatchObject({ floorOffset: 20, tailOffset: 39 });
        expect(found?.events.length).toBeGreaterThan(1);
        for (const { offset } of found?.events ?? []) expect(offset).toBeGreaterThan(20);
      }
    }
  }
});
