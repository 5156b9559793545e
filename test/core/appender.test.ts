/** The appender on a real Postgres: groups, poison, locks, and a database that goes away. */
import { describe, expect, test } from "vitest";
import { Appender } from "../../server/core/appender.ts";
import { systemClock } from "../../server/core/clock.ts";
import type { Command, CommandResult } from "../../server/core/command.ts";
import { type Notice, StoreError } from "../../server/core/ports.ts";
import { Traffic } from "../../server/core/traffic.ts";
import { anEvent, create, entries } from "../support/commands.ts";
import { CoreServer } from "../support/core-server.ts";
import { newId, useDatabase } from "../support/database.ts";
import { until } from "../support/until.ts";

const database = useDatabase();

async function withServer(run: (server: CoreServer) => Promise<void>): Promise<void> {
  const server = new CoreServer(database.url);
  try {
    await run(server);
  } finally {
    await server.close();
  }
}

async function submit(server: { appender: Appender }, command: Command): Promise<CommandResult> {
  const submission = server.appender.submit(command);
  if (submission.offer !== "queued") throw new Error(submission.offer);
  return submission.result;
}

async function aWorkflow(server: CoreServer): Promise<{ stream: string; id: string }> {
  const [stream, id] = [newId(), newId()];
  await submit(server, create(stream, { workflowId: id }));
  return { stream, id };
}

const storedIn = async (stream: string): Promise<string[]> => {
  const { rows } = await database.pool.query(
    `select convert_from(payload, 'UTF8') as payload from event where stream_id = $1 and "offset" > 1 order by "offset"`,
    [stream],
  );
  return rows.map((row) => row.payload);
};

test("one poisoned command in a group of a hundred fails alone", () =>
  withServer(async (server) => {
    const { stream, id } = await aWorkflow(server);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 100 }, (_, i) =>
        submit(
          server,
          // U+0000 is valid in protobuf and JSON; Postgres has no text for it.
          entries(stream, [
            anEvent({ workflowId: id, payload: `${i}`, taskExecutionId: i === 57 ? "a\u0000b" : "t" }),
          ]),
        ),
      ),
    );
    expect(outcomes.flatMap((outcome, i) => (outcome.status === "rejected" ? [i] : []))).toEqual([57]);
    expect(await storedIn(stream)).toEqual(
      Array.from({ length: 100 }, (_, i) => `${i}`).filter((i) => i !== "57"),
    );
  }));

test("commands of one stream are stored in the order of acceptance", () =>
  withServer(async (server) => {
    const { stream, id } = await aWorkflow(server);
    await Promise.all(
      Array.from({ length: 3000 }, (_, i) =>
        submit(server, entries(stream, [anEvent({ workflowId: id, payload: `${i}` })])),
      ),
    );
    expect(await storedIn(stream)).toEqual(Array.from({ length: 3000 }, (_, i) => `${i}`));
  }));

test("an idle appender commits one event at once, a busy one many together", async () => {
  const groups: number[] = [];
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const appender = new Appender(
    {
      store: {
        async append(_, commands) {
          groups.push(commands.length);
          await gate;
          const results = commands.map(
            () => ({ kind: "entries", stored: 1, duplicates: 0, lastOffset: 1, refusals: [] }) as const,
          );
          return { results, notices: [] };
        },
      },
      bus: { publish: () => {} },
      traffic: new Traffic(),
      clock: systemClock,
      random: Math.random,
      onFailure: () => {},
    },
    { commitConnections: 1 },
  );
  const first = submit({ appender }, entries("s", [anEvent({ workflowId: "w" })]));
  await until(() => expect(groups).toEqual([1]));
  const rest = Array.from({ length: 1500 }, () =>
    submit({ appender }, entries("s", [anEvent({ workflowId: "w" })])),
  );
  open();
  await Promise.all([first, ...rest]);
  expect(groups).toEqual([1, 1000, 500]);
  await appender.close(AbortSignal.timeout(1000));
});

describe("beside a commit that is under way", () => {
  /** An appender whose commits end when they are told to, by a clock that is turned by hand. */
  function byHand() {
    let now = 0;
    const timers = new Set<{ readonly atMs: number; readonly call: () => void }>();
    /** By connection: what each commit under way holds, and how it ends. */
    const commits: { connection: number; streams: string[]; end: (error?: StoreError) => void }[] = [];
    const appender = new Appender(
      {
        store: {
          async append(connection, commands) {
            const { promise, resolve, reject } = Promise.withResolvers<void>();
            const end = (error?: StoreError) => (error === undefined ? resolve() : reject(error));
            const commit = { connection, streams: commands.map(({ streamId }) => streamId), end };
            commits.push(commit);
            await promise.finally(() => commits.splice(commits.indexOf(commit), 1));
            const results = commands.map(
              () => ({ kind: "entries", stored: 1, duplicates: 0, lastOffset: 1, refusals: [] }) as const,
            );
            return { results, notices: [] };
          },
        },
        bus: { publish: () => {} },
        traffic: new Traffic(),
        clock: {
          now: () => now,
          after(delayMs, call) {
            const timer = { atMs: now + delayMs, call };
            timers.add(timer);
            return () => timers.delete(timer);
          },
        },
        random: Math.random,
        onFailure: () => {},
      },
      { commitConnections: 3 },
    );
    const turn = (ms: number) => {
      now += ms;
      for (const timer of [...timers]) if (timer.atMs <= now && timers.delete(timer)) timer.call();
    };
    const submitTo = (stream: string) =>
      submit({ appender }, entries(stream, [anEvent({ workflowId: "w" })]));
    const streams = () => commits.map((commit) => commit.streams);
    return { appender, commits, streams, submitTo, turn };
  }
  const settled = () => new Promise((resolve) => setImmediate(resolve));

  test("what comes waits, and shares the next one", async () => {
    const { commits, streams, submitTo } = byHand();
    const all = ["a", "b", "c", "a"].map(submitTo);
    await settled();
    expect(streams()).toEqual([["a", "a", "b", "c"]]);
    all.push(submitTo("d"), submitTo("a"));
    await settled();
    expect(streams().length).toBe(1);
    commits[0]?.end();
    await settled();
    expect(streams().map((names) => names.sort())).toEqual([["a", "d"]]);
    commits[0]?.end();
    await Promise.all(all);
  });

  test("other streams go on when it takes long, its own do not", async () => {
    const { commits, streams, submitTo, turn } = byHand();
    const all = [submitTo("locked")];
    await settled();
    all.push(submitTo("locked"), submitTo("b"), submitTo("c"));
    await settled();
    turn(4);
    expect(streams()).toEqual([["locked"]]);
    turn(1);
    expect(streams()).toEqual([["locked"], ["b", "c"]]);
    expect(new Set(commits.map(({ connection }) => connection)).size).toBe(2);
    commits[1]?.end();
    await settled();
    // The first one has taken long already: nothing waits for it any more.
    turn(5);
    all.push(submitTo("d"));
    await settled();
    expect(streams()).toEqual([["locked"], ["d"]]);
    commits[1]?.end();
    commits[0]?.end();
    await settled();
    expect(streams()).toEqual([["locked"]]);
    commits[0]?.end();
    await Promise.all(all);
  });

  test("what shared a group with a locked stream waits for it once, and goes on stream by stream, in order", async () => {
    const { commits, streams, submitTo, turn } = byHand();
    const busy = new StoreError("busy", "locked", undefined);
    const done: string[] = [];
    const all = ["a", "locked", "b", "a", "c"].map((name) => submitTo(name).then(() => done.push(name)));
    await settled();
    expect(streams()).toEqual([["a", "a", "locked", "b", "c"]]);
    const groups: string[][] = [];
    for (let tries = 0; done.length < 4 && tries < 20; tries++) {
      const [commit] = commits;
      groups.push(commit?.streams ?? []);
      commit?.end(commit.streams.includes("locked") ? busy : undefined);
      await settled();
    }
    // Each of the others was in one group more: the first command of a stream by itself, then it is like any other.
    expect(groups.slice(1).filter(([name]) => name !== "locked")).toEqual([["a"], ["a"], ["b"], ["c"]]);
    expect(groups.slice(1).filter((names) => names.includes("locked"))).toEqual([["locked"]]);
    turn(100);
    await settled();
    commits[0]?.end();
    await Promise.all(all);
    expect(done.at(-1)).toBe("locked");
  });

  test("a whole group goes at once, on as many connections as there are", async () => {
    const { commits, streams, submitTo } = byHand();
    const all = [submitTo("a")];
    await settled();
    for (let i = 0; i < 3500; i++) all.push(submitTo(`s${i}`));
    await settled();
    expect(streams().map(({ length }) => length)).toEqual([1, 1000, 1000]);
    while (commits.length > 0) {
      commits[0]?.end();
      await settled();
    }
    await Promise.all(all);
  });
});

test(
  "a stream whose lock somebody holds waits; the others go on; its order is kept",
  { timeout: 60_000 },
  () =>
    withServer(async (server) => {
      const workflows = await Promise.all(Array.from({ length: 12 }, () => aWorkflow(server)));
      const [locked, ...others] = workflows;
      if (locked === undefined) throw new Error("no workflow");
      const holder = await database.connect();
      await holder.query("begin");
      await holder.query("select from stream where stream_id = $1 for update", [locked.stream]);
      const done: number[] = [];
      const blocked = Array.from({ length: 5 }, (_, i) =>
        submit(server, entries(locked.stream, [anEvent({ workflowId: locked.id, payload: `${i}` })])).then(
          () => done.push(i),
        ),
      );
      await Promise.all(
        others.flatMap(({ stream, id }) =>
          Array.from({ length: 5 }, () => submit(server, entries(stream, [anEvent({ workflowId: id })]))),
        ),
      );
      expect(done).toEqual([]);
      await holder.query("commit");
      await Promise.all(blocked);
      expect(await storedIn(locked.stream)).toEqual(["0", "1", "2", "3", "4"]);
    }),
);

test("a notice that cannot be published costs nothing but delay: what is stored is stored once", async () => {
  let appends = 0;
  const failures: string[] = [];
  const appender = new Appender(
    {
      store: {
        append(_, commands) {
          appends++;
          const results = commands.map(
            () => ({ kind: "entries", stored: 1, duplicates: 0, lastOffset: 1, refusals: [] }) as const,
          );
          return Promise.resolve({
            results,
            notices: [{ streamId: "s", from: 1, to: 1, entries: undefined }],
          });
        },
      },
      traffic: new Traffic(),
      bus: {
        publish() {
          throw new Error("too large");
        },
      },
      clock: systemClock,
      random: Math.random,
      onFailure: (message) => failures.push(message),
    },
    { commitConnections: 1 },
  );
  expect(await submit({ appender }, entries("s", [anEvent({ workflowId: "w" })]))).toMatchObject({
    stored: 1,
  });
  expect(appends).toBe(1);
  expect(failures).toEqual([expect.stringContaining("notice")]);
  await appender.close(AbortSignal.timeout(1000));
});

describe("when the connections are cut in the middle of commits", () => {
  test("numbered entries are all stored exactly once", { timeout: 60_000 }, () =>
    withServer(async (server) => {
      const { stream, id } = await aWorkflow(server);
      const cutter = await database.connect();
      let cutting = true;
      let cut = 0;
      const cuts = (async () => {
        while (cutting) {
          const { rowCount } = await cutter.query(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tributary' and datname = current_database() and query like '%append%'",
          );
          cut += rowCount ?? 0;
          // Far enough apart for a new connection to get something done in between.
          await new Promise((resolve) => setTimeout(resolve, 150));
        }
      })();
      const rounds = 60;
      for (let round = 0; round < rounds; round++) {
        await Promise.all(
          Array.from({ length: 50 }, (_, i) => {
            const n = round * 50 + i;
            return submit(
              server,
              entries(stream, [
                anEvent({ workflowId: id, payload: `${n}`, producerId: "p", sequence: n + 1 }),
              ]),
            );
          }),
        );
      }
      await until(() => expect(cut).toBeGreaterThan(0));
      cutting = false;
      await cuts;
      expect(await storedIn(stream)).toEqual(Array.from({ length: rounds * 50 }, (_, i) => `${i}`));
    }),
  );

  test("entries without numbers are never stored twice: they fail, and say that the outcome is unknown", async () => {
    let calls = 0;
    const appender = new Appender(
      {
        store: {
          append: () => {
            calls++;
            return Promise.reject(new StoreError("unknown", "cut", undefined));
          },
        },
        bus: { publish: () => {} },
        traffic: new Traffic(),
        clock: systemClock,
        random: Math.random,
        onFailure: () => {},
      },
      { commitConnections: 1 },
    );
    const command: Command = { ...entries("s", [anEvent({ workflowId: "w" })]), idempotent: false };
    await expect(submit({ appender }, command)).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("may or may not be stored"),
    });
    expect(calls).toBe(1);
    await appender.close(AbortSignal.timeout(1000));
  });
});

test("while the database is away commands wait, those that wait too long fail, and what waits is stored when it is back", async () => {
  let away = true;
  const stored: Command[] = [];
  const notices: Notice[] = [];
  const appender = new Appender(
    {
      store: {
        append(_, commands) {
          if (away) return Promise.reject(new StoreError("away", "refused", undefined));
          stored.push(...commands);
          const results = commands.map(
            () => ({ kind: "entries", stored: 1, duplicates: 0, lastOffset: 1, refusals: [] }) as const,
          );
          return Promise.resolve({ results, notices: [] });
        },
      },
      bus: { publish: (notice) => notices.push(notice) },
      traffic: new Traffic(),
      clock: systemClock,
      random: Math.random,
      onFailure: () => {},
    },
    { commitConnections: 1 },
  );
  const impatient: Command = { ...entries("a", [anEvent({ workflowId: "w" })]), patienceMs: 30 };
  const patient: Command = { ...entries("b", [anEvent({ workflowId: "w" })]), patienceMs: undefined };
  const waits = submit({ appender }, patient);
  await expect(submit({ appender }, impatient)).rejects.toMatchObject({ code: "unavailable" });
  expect(appender.awayReason).toBe("refused");
  away = false;
  await waits;
  expect(stored).toEqual([patient]);
  expect(appender.awayReason).toBeUndefined();
  await appender.close(AbortSignal.timeout(1000));
});
