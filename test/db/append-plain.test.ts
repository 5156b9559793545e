/** What `append_plain` stores without judging is what `append` would have stored: the same groups through both, from the same state. */
import type pg from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import { append } from "../../db/statements/append.ts";
import type { AppendAnswer } from "../../db/statements/append-group.ts";
import { appendPlain } from "../../db/statements/append-plain.ts";
import { type AppendEntries, type Command, passedType } from "../../server/core/command.ts";
import { EventType, type NewEvent, noWorkflow } from "../../server/core/event.ts";
import { toAppendGroup } from "../../server/store/append-group.ts";
import { anEvent, attach, close, create, entries } from "../support/commands.ts";
import { newId, useDatabase } from "../support/database.ts";
import { isFull, Random, seeds } from "../support/random.ts";

const database = useDatabase();
let client: pg.Client;
beforeAll(async () => {
  client = await database.connect();
});

const groups = 200;

describe.each(seeds(isFull ? 20 : 1))("with seed %i", (seed) => {
  test("random groups are stored by it as by append", { timeout: 300_000 }, async () => {
    const random = new Random(seed);
    const world = await makeWorld(random, seed);
    const counts = { plain: 0, notPlain: 0, refused: 0, failed: 0 };
    for (let i = 0; i < groups; i++) {
      const commands = await world.group();
      const group = toAppendGroup(commands);
      await client.query("begin");
      await client.query("savepoint before");
      const plainly = group.plain && (await appendPlain(client, group, group.plain));
      const afterPlain = await state(world.streams);
      await client.query("rollback to before");
      const judged = await append(client, { ...group, plain: undefined }).catch(
        (error: pg.DatabaseError) => error,
      );
      if (judged instanceof Error) {
        // Its entries depend on one another, or a session's numbers leave a hole: what never gets as far as the database.
        expect(judged).toMatchObject({ code: "TR001" });
        expect(plainly).toBeUndefined();
        counts.failed++;
        await client.query("rollback");
        world.note([], undefined);
        continue;
      }
      const isAllStored = judged.decisions === undefined && group.ops.length === 0;
      if (plainly === undefined) {
        counts.notPlain++;
        // Perhaps it could have been: only duplicates and the like must have kept it from it.
        expect(isAllStored, `group ${i} could have been plain`).toBe(false);
        if (judged.decisions !== undefined) counts.refused++;
      } else {
        counts.plain++;
        expect(withoutTime(plainly), `group ${i}`).toEqual(withoutTime(judged));
        expect(afterPlain, `group ${i}`).toEqual(await state(world.streams));
      }
      await client.query("commit");
      world.note(commands, judged);
    }
    // It would prove nothing if all were of one kind.
    for (const [kind, count] of Object.entries(counts)) expect(count, kind).toBeGreaterThan(0);
  });
});

test("beside a server that only knows append, both on the same streams, nothing is lost, doubled or deadlocked", async () => {
  const streams = Array.from({ length: 20 }, newId);
  for (const id of streams) await append(client, toAppendGroup([create(id, { workflowId: id })]));
  const rounds = 60;
  const write = async (producerId: string, isOld: boolean) => {
    const own = await database.connect();
    for (let sequence = 1; sequence <= rounds; sequence++) {
      const group = toAppendGroup(
        streams.map((id) => entries(id, [anEvent({ workflowId: id, producerId, sequence })])),
      );
      const { decisions } = await append(own, isOld ? { ...group, plain: undefined } : group);
      expect(decisions).toBeUndefined();
    }
  };
  await Promise.all([write("old", true), write("new", false), write("newer", false)]);
  const { rows } = await client.query(
    `select count(*)::int as n, count(distinct "offset")::int as offsets, max("offset")::int as last,
            bool_and(sequence = place) as in_order
       from (select *, row_number() over (partition by stream_id, producer_id order by "offset") as place
               from event where stream_id = any ($1) and producer_id <> '') as e
      group by stream_id`,
    [streams],
  );
  const all = 3 * rounds;
  expect(rows).toEqual(streams.map(() => ({ n: all, offsets: all, last: all + 1, in_order: true })));
});

test("streams that do not come in the order in which they are locked, or twice, are not stored by it", async () => {
  const [one, two] = [newId(), newId()].toSorted();
  if (one === undefined || two === undefined) throw new Error("no ids");
  for (const id of [one, two]) await append(client, toAppendGroup([create(id, { workflowId: id })]));
  // "one" is longer: with its offset the other one would have a hole.
  await append(client, toAppendGroup([entries(one, [anEvent({ workflowId: one })])]));
  const group = toAppendGroup([one, two].map((id) => entries(id, [anEvent({ workflowId: id })])));
  const { plain } = group;
  if (plain === undefined) throw new Error("it should be plain");
  expect(
    await appendPlain(client, { ...group, streams: [two, one], keyStream: [2, 1] }, plain),
  ).toBeUndefined();
  expect(
    await appendPlain(client, { ...group, streams: [one, one, two], keyStream: [1, 3] }, plain),
  ).toBeUndefined();
  expect(await appendPlain(client, group, plain)).toMatchObject({ firstOffsets: [3, 2] });
});

test("entries of one session that come by an old connection and by a new one are not plain", async () => {
  const [stream, session] = [newId(), newId()];
  const run = (...commands: Command[]) => append(client, toAppendGroup(commands));
  await run(create(stream, { workflowId: stream }));
  await run(attach(stream, stream, session));
  await run(attach(stream, stream, session, true));
  const batch = (sequence: number, epoch: number): AppendEntries => ({
    ...entries(stream, [anEvent({ workflowId: stream, producerId: session, sequence })]),
    session: { epoch },
  });
  expect((await run(batch(1, 2), batch(2, 1))).decisions).toEqual([1, 7]);
  expect((await run(batch(2, 1), batch(3, 2)).catch((error) => error)).code).toBe("TR001");
});

const withoutTime = ({ recordedMs: _, ...answer }: AppendAnswer) => answer;

/** All that a group may change in these streams, but for when it was. Of events and observations the newest, and how many there are. */
async function state(streams: readonly string[]) {
  const { rows } = await client.query(
    `with of as (select * from stream where stream_id = any ($1::uuid[]))
     select (select jsonb_agg(to_jsonb(s) order by s.stream_id) from of s) as streams,
            (select jsonb_agg(to_jsonb(e) - 'recorded_ms' order by e.stream_id, e."offset")
               from event e join of s using (stream_id) where e."offset" > s.next_offset - 40) as events,
            (select count(*) from event join of using (stream_id)) as all_events,
            (select jsonb_agg(to_jsonb(p) order by p.stream_id, p.workflow_id, p.producer_id)
               from producer p join of using (stream_id)) as producers,
            (select jsonb_agg(to_jsonb(t) order by t.workflow_id, t.task_execution_id)
               from task t join workflow using (workflow_id) join of using (stream_id)) as tasks,
            (select jsonb_agg(to_jsonb(o) order by o.stream_id, o."offset")
               from observation o join of s using (stream_id) where o."offset" > s.next_offset - 40) as observations,
            (select count(*) from observation join of using (stream_id)) as all_observations`,
    [streams],
  );
  return rows[0];
}

interface Session {
  readonly id: string;
  readonly stream: string;
  readonly of: "tree" | "space";
  epoch: number;
  /** Number of its next entry: as the database has it, and behind what the group holds already. */
  settled: number;
  next: number;
}

/** Two trees, a space, producers and sessions, and groups about them of which most are sound. */
async function makeWorld(random: Random, seed: number) {
  const run = (...commands: Command[]) => append(client, toAppendGroup(commands));
  const trees: { stream: string; workflows: string[] }[] = [];
  for (let i = 0; i < 2; i++) {
    const [stream, child] = [newId(), newId()];
    await run(create(stream, { workflowId: stream }));
    await run(create(stream, { workflowId: child, parentWorkflowId: stream }));
    trees.push({ stream, workflows: [stream, child] });
  }
  const space = newId();
  await client.query("insert into stream (stream_id, tenant_slug, kind) values ($1, 'acme', 2)", [space]);
  await client.query("insert into memory_space (tenant_slug, space, stream_id) values ('acme', $2, $1)", [
    space,
    `plain-${seed}`,
  ]);
  const sessions: Session[] = [];
  for (const [stream, of] of [
    [trees[0]?.stream ?? "", "tree"],
    [space, "space"],
    [space, "space"],
  ] as const) {
    const id = newId();
    await run(attach(stream, of === "tree" ? stream : undefined, id));
    sessions.push({ id, stream, of, epoch: 1, settled: 1, next: 1 });
  }
  const streams = [...trees.map(({ stream }) => stream), space];
  const last = new Map<string, number>();
  let tasks = 0;

  const tracing = () =>
    random.chance(0.2) ? { traceparent: `00-${"ab".repeat(16)}-${"cd".repeat(8)}-01` } : {};
  const payload = () =>
    random.pick([undefined, "", "text äöü", "a\u0000b", new Uint8Array([0, 255]), "y".repeat(3000)]);
  const type = () => (random.chance(0.05) ? random.pick([9, 10, 11]) : random.pick([1, 2, 3, 5, 8]));
  const taskId = () => (random.chance(0.3) ? `task-${++tasks}` : `task-${random.below(tasks + 1)}`);

  function published(): AppendEntries {
    const { stream, workflows } = random.pick(trees);
    const producerId = random.pick(["", "", "p", "q"]);
    const events = Array.from({ length: 1 + random.below(4) }, (): NewEvent => {
      const workflowId = random.chance(0.02) ? newId() : random.pick(workflows);
      const key = `${workflowId} ${producerId}`;
      const before = last.get(key) ?? 0;
      const sequence =
        producerId === "" ? 0 : random.chance(0.03) ? Math.max(1, before - 1) : before + 1 + random.below(2);
      if (producerId !== "") last.set(key, Math.max(before, sequence));
      return anEvent({
        workflowId,
        taskExecutionId: taskId(),
        producerId,
        sequence,
        type: type(),
        payload: payload(),
        ...tracing(),
      });
    });
    return entries(random.chance(0.02) ? newId() : stream, events); // of no stream: deleted meanwhile
  }

  function written(): AppendEntries {
    const session = random.pick(sessions);
    const first = random.chance(0.03)
      ? Math.max(1, session.next - 2)
      : random.chance(0.02)
        ? session.next + 1
        : session.next;
    const events = Array.from({ length: 1 + random.below(4) }, (_, i): NewEvent => {
      const own = { producerId: session.id, sequence: first + i, payload: payload(), ...tracing() };
      if (random.chance(0.02))
        return anEvent({
          ...own,
          workflowId: noWorkflow,
          type: passedType,
          payload: '{"code":1,"message":"no"}',
        });
      // What belongs into the other kind of stream.
      if (random.chance(0.02)) {
        const observationId = newId();
        const observation = { observationId, metadata: "{}", confidence: 1, importance: 1, observedMs: 1 };
        return session.of === "tree"
          ? anEvent({
              ...own,
              workflowId: noWorkflow,
              taskExecutionId: "",
              type: EventType.OBSERVATION,
              observation,
            })
          : anEvent({ ...own, workflowId: noWorkflow, taskExecutionId: "" });
      }
      if (session.of === "tree")
        return anEvent({
          ...own,
          workflowId: random.pick(trees[0]?.workflows ?? []),
          taskExecutionId: taskId(),
          type: type(),
        });
      const observationId = random.chance(0.05) ? "taken" : newId();
      const observation = {
        observationId,
        metadata: '{"a":"b"}',
        confidence: 0.5,
        importance: 1,
        observedMs: 7,
      };
      return anEvent({
        ...own,
        workflowId: noWorkflow,
        taskExecutionId: "",
        type: EventType.OBSERVATION,
        payload: "words",
        observation,
      });
    });
    // Numbers of a later batch of the same group go on from this one.
    if (first === session.next) session.next += events.length;
    const epoch = random.chance(0.03) ? Math.max(1, session.epoch - 1) : session.epoch;
    return { ...entries(session.stream, events), session: { epoch } };
  }

  return {
    /** All that there are. */
    streams,
    async group(): Promise<Command[]> {
      if (random.chance(0.04)) {
        const session = random.pick(sessions);
        session.epoch++;
        await run(
          attach(session.stream, session.of === "tree" ? session.stream : undefined, session.id, true),
        );
      }
      if (random.chance(0.02)) {
        // A tree that closes is followed by another one.
        const tree = trees[1] as { stream: string; workflows: string[] };
        await run(close(tree.stream, tree.stream, true));
        const stream = newId();
        await run(create(stream, { workflowId: stream }));
        streams.push(stream);
        if (random.chance(0.5)) trees[1] = { stream, workflows: [stream] };
        else tree.workflows.push(stream); // of another stream: unknown here
      }
      const commands: Command[] = Array.from({ length: 1 + random.below(4) }, () =>
        random.chance(0.5) ? published() : written(),
      );
      const { stream } = random.pick(trees);
      if (random.chance(0.05)) commands.push(create(stream, { parentWorkflowId: stream }));
      return commands;
    },
    /** Sessions go on from what the database says. */
    note(commands: readonly Command[], answer: AppendAnswer | undefined) {
      let no = 0;
      const reached = new Map<string, number>();
      for (const command of commands) {
        if (command.kind !== "entries") continue;
        for (const event of command.events) {
          const decision = answer?.decisions?.[no++] ?? 1;
          if (command.session !== undefined && decision !== 2 && decision !== 7)
            reached.set(event.producerId, event.sequence + 1);
        }
      }
      for (const session of sessions) {
        session.settled = reached.get(session.id) ?? session.settled;
        session.next = session.settled;
      }
    },
  };
}
