/** That a watch misses nothing and repeats nothing: at each point of its opening, and in random lives. */
import { describe, expect, test } from "vitest";
import { DomainError } from "../../server/core/errors.ts";
import type { WatchMessage } from "../../server/core/variables/watch.ts";
import { close } from "../support/commands.ts";
import { useDatabase } from "../support/database.ts";
import { Random, seeds } from "../support/random.ts";
import { until } from "../support/until.ts";
import {
  access,
  openWorld,
  readAll,
  Seen,
  type VariableWorld,
  type WorldOptions,
} from "../support/variable-world.ts";

const database = useDatabase();

async function withWorld(options: WorldOptions, run: (world: VariableWorld) => Promise<void>): Promise<void> {
  const world = openWorld(database.url, options);
  try {
    await run(world);
  } finally {
    await world.close();
  }
}

/** Reads a watch until `isDone` says so of what was seen. */
async function readUntil(
  messages: AsyncGenerator<WatchMessage>,
  isDone: (seen: Seen) => boolean,
  kinds: string[] = [],
): Promise<{ seen: Seen; kinds: string[] }> {
  const seen = new Seen();
  for await (const message of messages) {
    seen.take(message);
    kinds.push(message.kind);
    if (isDone(seen)) break;
  }
  return { seen, kinds };
}

describe("an update at any point of a watch's opening is seen once, in order", () => {
  const points = ["readSnapshot", "subscribe", "readTails", "readScope", "readAt"].flatMap((step) => [
    `before ${step}`,
    `after ${step}`,
  ]);
  const latePoints = ["before readPage", "after readPage"];

  test.each([
    ...points.map((point) => [point, false]),
    ...points.filter((point) => !/subscribe|readTails/.test(point)).map((point) => [point, true]),
    // What is committed before the hub is live is read as a page.
    ...latePoints.map((point) => [point, false]),
  ] as [string, boolean][])("%s, another watcher there already: %s", async (point, warm) => {
    let armed = false;
    let workflowId = "";
    let made = 0;
    const fired: string[] = [];
    const at = async (here: string) => {
      const early = latePoints.includes(point) && here === "after readSnapshot";
      if (!armed || (here !== point && !early) || fired.includes(here)) return;
      fired.push(here);
      for (const name of ["a", "b"]) await world.set(workflowId, name, ++made);
    };
    const world = openWorld(database.url, { at });
    const abort = new AbortController();
    try {
      workflowId = await world.newWorkflow();
      for (const name of ["a", "b"]) await world.set(workflowId, name, 0);
      const other = world.watch({ workflowId }, abort.signal);
      if (warm) await other.next();
      armed = true;
      const kinds: string[] = [];
      const done = readUntil(
        world.watch({ workflowId }, abort.signal),
        (seen) => ["a", "b"].every((name) => seen.versions.get(name)?.at(-1) === 2 + fired.length),
        kinds,
      );
      await until(() =>
        expect([...fired, ...kinds]).toEqual(expect.arrayContaining([point, "snapshot_complete"])),
      );
      for (const name of ["a", "b"]) await world.set(workflowId, name, ++made);
      const { seen } = await done;
      expect(kinds.slice(0, 3)).toEqual(["opened", "updates", "snapshot_complete"]);
      for (const name of ["a", "b"]) {
        const versions = seen.versions.get(name) ?? [];
        const first = versions[0] ?? 0;
        expect(first).toBe(point === "before readSnapshot" ? 2 : 1);
        expect(versions).toEqual(Array.from({ length: 3 + fired.length - first }, (_, i) => first + i));
      }
      await other.return(undefined);
    } finally {
      abort.abort();
      await world.close();
    }
  });
});

test("values are those of the snapshot, though they were changed or deleted while they were sent", async () => {
  let changed = false;
  let workflowId = "";
  const at = async (point: string) => {
    if (point !== "before readAt" || changed) return;
    changed = true;
    for (let i = 0; i < 3; i++) await world.set(workflowId, "changed", 10 + i);
    await world.variables.delete(access, workflowId, "deleted", "", undefined);
    await world.set(workflowId, "deleted", 20);
    await world.variables.delete(access, workflowId, "gone", "", undefined);
    await world.set(workflowId, "new", 30);
  };
  const world = openWorld(database.url, { at });
  const abort = new AbortController();
  try {
    workflowId = await world.newWorkflow();
    for (const name of ["changed", "deleted", "gone", "same"]) await world.set(workflowId, name, 1);
    const messages: WatchMessage[] = [];
    await readUntil(
      (async function* () {
        for await (const message of world.watch({ workflowId }, abort.signal)) {
          messages.push(message);
          yield message;
        }
      })(),
      (seen) => seen.state.has("new"),
    );
    const [, initial, complete] = messages;
    if (initial?.kind !== "updates") throw new Error(`${initial?.kind} as second message`);
    const told = initial.updates.map(({ content, offset }) => ({ ...content().variable, offset }));
    expect(told.map(({ name, value, version, offset }) => [name, value, version, offset])).toEqual(
      ["changed", "deleted", "gone", "same"].map((name) => [name, 1, 1, 5]),
    );
    expect(complete).toEqual({ kind: "snapshot_complete", offset: 5 });
    const updates = messages
      .slice(3)
      .flatMap((message) => (message.kind === "updates" ? message.updates : []));
    expect(updates.map(({ kind, name, content }) => `${kind} ${name} ${content().variable.version}`)).toEqual(
      [
        "set changed 2",
        "set changed 3",
        "set changed 4",
        "deleted deleted 1",
        "set deleted 2",
        "deleted gone 1",
        "set new 1",
      ],
    );
  } finally {
    abort.abort();
    await world.close();
  }
});

test("what was changed and trimmed while the snapshot was sent is left out of it, and comes after it", async () => {
  let workflowId = "";
  let done = false;
  const at = async (point: string) => {
    if (point !== "before readAt" || done) return;
    done = true;
    await world.set(workflowId, "a", 2);
    await trim(workflowId, 2);
  };
  const world = openWorld(database.url, { at });
  const abort = new AbortController();
  try {
    workflowId = await world.newWorkflow();
    await world.set(workflowId, "a", 1);
    await world.set(workflowId, "b", 1);
    const { seen, kinds } = await readUntil(
      world.watch({ workflowId }, abort.signal),
      ({ versions }) => versions.size === 2,
    );
    expect(kinds).toEqual(["opened", "updates", "snapshot_complete", "updates"]);
    expect([...seen.state]).toEqual([
      ["b", { version: 1, value: 1 }],
      ["a", { version: 2, value: 2 }],
    ]);
  } finally {
    abort.abort();
    await world.close();
  }
});

/** As retention does it: the floor first. */
async function trim(workflowId: string, floor: number): Promise<void> {
  const { rows } = await database.pool.query("select stream_id from workflow where workflow_id = $1", [
    workflowId,
  ]);
  const stream = rows[0].stream_id;
  await database.pool.query(
    "insert into stream_floor values ($1, $2) on conflict (stream_id) do update set floor_offset = $2",
    [stream, floor],
  );
  await database.pool.query(`delete from event where stream_id = $1 and "offset" <= $2`, [stream, floor]);
}

describe("rules that another instance changed", () => {
  const integer = {
    path: "a",
    name: "n",
    type: 2,
    metadata: {},
    clearMetadata: false,
    expectedVersion: undefined,
  };
  const setting = (world: VariableWorld, workflowId: string, value: number, max?: number) =>
    world.variables.set(
      access,
      workflowId,
      "",
      [
        {
          ...integer,
          value: { text: String(value), plain: value },
          constraints: max === undefined ? undefined : { max },
        },
      ],
      true,
    );

  test("count, also where this one still knows the old ones", async () => {
    await withWorld({}, async (one) => {
      await withWorld({}, async (two) => {
        const workflowId = await one.newWorkflow();
        await setting(one, workflowId, 1, 10);
        await setting(two, workflowId, 20, 100);
        // Refused by the rules that this instance knows, taken by those that there are.
        expect((await setting(one, workflowId, 50))[0]).toMatchObject({
          version: 3,
          constraints: { max: 100 },
        });
        await setting(two, workflowId, 5, 10);
        // Taken by the rules that this instance knows, refused by those that there are.
        await expect(setting(one, workflowId, 50)).rejects.toThrow("must be at most 10");
        await two.variables.delete(access, workflowId, "n", "", undefined);
        expect((await setting(one, workflowId, 50))[0]).toMatchObject({ version: 5, constraints: undefined });
      });
    });
  });

  test("while a value is on its way to the lock count too, and a value that lasts is stored after a few tries", async () => {
    await withWorld({}, async (world) => {
      const workflowId = await world.newWorkflow();
      await setting(world, workflowId, 1, 10);
      // All judged before the first is stored.
      const outcomes = await Promise.allSettled([
        setting(world, workflowId, 2, 5),
        setting(world, workflowId, 7),
        setting(world, workflowId, 3),
      ]);
      expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
      expect((outcomes[1] as PromiseRejectedResult).reason).toMatchObject({ code: "invalid_argument" });
    });
  });
});

test.each(seeds(process.env["TRIBUTARY_TEST_FULL"] ? 30 : 4))(
  "a random life of writers and watchers, seed %i",
  async (seed) => {
    const random = new Random(seed);
    const names = ["a", "b", "c", "d"];
    const writer = openWorld(database.url);
    // Another instance, whose bus hears of nothing: its tail check tells.
    const reader = openWorld(database.url, { tailCheckIntervalMs: 5 });
    try {
      const workflowId = await writer.newWorkflow();
      const { identity } = await writer.registry.require(access, workflowId);
      /** Versions ever set, deletions included, by name, each with the offset of the change. */
      const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
      const write = async (world: VariableWorld) => {
        for (let i = 0; i < 40; i++) {
          const name = random.pick(names);
          try {
            if (random.chance(0.15)) await world.variables.delete(access, workflowId, name, "", undefined);
            else if (random.chance(0.3)) {
              const some = names.filter(() => random.chance(0.6));
              if (some.length > 0) await Promise.all(some.map((one) => world.set(workflowId, one, i)));
            } else await world.set(workflowId, name, i, random.chance(0.2) ? random.below(20) : undefined);
          } catch (error) {
            if (
              !(error instanceof DomainError) ||
              !["not_found", "aborted", "unavailable"].includes(error.code)
            )
              throw error;
          }
          if (random.chance(0.3)) await pause(random.below(8));
        }
      };
      const watch = async (world: VariableWorld) => {
        await pause(random.below(60));
        const wanted = random.chance(0.3) ? [random.pick(names)] : [];
        const conflated = random.chance(0.5);
        const request = { workflowId, names: wanted };
        const policy = { ...readAll, conflateTypes: conflated ? [30, 31] : [] };
        const seen = new Seen();
        let startedAt = -1;
        for (let resumed = false; ; resumed = true) {
          const options = resumed ? { ...policy, start: seen.offset } : policy;
          let left = random.chance(0.3) ? 1 + random.below(20) : Number.POSITIVE_INFINITY;
          // A call that is left in the middle of its snapshot is not resumed but made anew.
          let complete = resumed;
          const messages = world.watch({ ...request, options }, new AbortController().signal);
          let ended = false;
          for await (const message of messages) {
            if (message.kind === "opened" && resumed) expect(message.startOffset).toBe(seen.offset);
            seen.take(message);
            if (message.kind === "snapshot_complete") {
              complete = true;
              startedAt = message.offset;
            }
            ended = message.kind === "ended";
            if (random.chance(0.5)) await pause(random.below(20));
            if (complete && --left < 0) break;
          }
          if (ended) return { seen, wanted, conflated, startedAt };
        }
      };
      const writing = Promise.all([write(writer), write(writer), write(reader)]);
      const watching = Promise.all(Array.from({ length: 6 }, (_, i) => watch(i % 2 === 0 ? reader : writer)));
      await writing;
      await pause(20);
      const submission = writer.appender.submit(close(identity.streamId, workflowId));
      if (submission.offer !== "queued") throw new Error(submission.offer);
      await submission.result;
      const { rows } = await database.pool.query(
        `select "offset"::int, type, convert_from(payload, 'UTF8')::json as change from event
        where workflow_id = $1 and type in (30, 31) order by "offset"`,
        [workflowId],
      );
      for (const { seen, wanted, conflated, startedAt } of await watching) {
        const mine = rows.filter(({ change }) => wanted.length === 0 || wanted.includes(change.name));
        const after = mine.filter(({ offset }) => offset > startedAt);
        expect(seen.changes).toBe(after.length);
        const state = new Map<string, { version: number; value: unknown }>();
        for (const { type, change } of mine) {
          if (type === 31) state.delete(change.name);
          else state.set(change.name, { version: change.version, value: change.value });
        }
        expect(new Map([...seen.state].toSorted())).toEqual(new Map([...state].toSorted()));
        if (conflated) continue;
        for (const name of names) {
          const versions = after.filter(({ type, change }) => type === 30 && change.name === name);
          const told = seen.versions.get(name) ?? [];
          expect(told.slice(told.length - versions.length)).toEqual(
            versions.map(({ change }) => change.version),
          );
        }
      }
    } finally {
      await writer.close();
      await reader.close();
    }
  },
);
