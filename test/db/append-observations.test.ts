/** What `append` guarantees of observations: ids taken once, words in the same transaction, no mixing with workflows. */
import type pg from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import { append } from "../../db/statements/append.ts";
import type { AppendEntries, Command, CommandResult } from "../../server/core/command.ts";
import { passedType } from "../../server/core/command.ts";
import { EventType, type NewEvent, noWorkflow } from "../../server/core/event.ts";
import { splitAtHazards } from "../../server/core/hazards.ts";
import { Lanes } from "../../server/core/lanes.ts";
import { RejectionCode } from "../../server/core/session/rejection.ts";
import { toAppendGroup, toGroupResult } from "../../server/store/append-group.ts";
import { anEvent, attach, create, entries } from "../support/commands.ts";
import { newId, useDatabase, waitingForLock } from "../support/database.ts";
import { takeGroup } from "../support/take-group.ts";
import { until } from "../support/until.ts";

const database = useDatabase();
let client: pg.Client;
beforeAll(async () => {
  client = await database.connect();
});

async function run(commands: Command[], by = client): Promise<readonly CommandResult[]> {
  const group = toAppendGroup(commands);
  return toGroupResult(commands, group, await append(by, group)).results;
}

const anObservation = (session: string, sequence: number, id: string, content = "words"): NewEvent =>
  anEvent({
    workflowId: noWorkflow,
    taskExecutionId: "",
    producerId: session,
    sequence,
    type: EventType.OBSERVATION,
    payload: content,
    observation: {
      observationId: id,
      metadata: '{"a":"\\"b"}',
      confidence: 1,
      importance: 0.5,
      observedMs: 7,
    },
  });

let made = 0;
async function aSpace() {
  const stream = newId();
  await database.pool.query("insert into stream (stream_id, tenant_slug, kind) values ($1, 'acme', 2)", [
    stream,
  ]);
  await database.pool.query(
    "insert into memory_space (tenant_slug, space, stream_id) values ('acme', $1, $2)",
    [`space-${++made}`, stream],
  );
  const aSession = async () => {
    const session = newId();
    await run([attach(stream, undefined, session)]);
    return {
      session,
      batch: (events: NewEvent[]): AppendEntries => ({ ...entries(stream, events), session: { epoch: 1 } }),
      resume: async () => (await run([attach(stream, undefined, session, true)]))[0],
    };
  };
  const stored = async () =>
    (
      await database.pool.query(
        `select o."offset"::int, observation_id, workflow_id, search @@ 'words' as found
           from observation o join event using (stream_id, "offset") where o.stream_id = $1 order by 1`,
        [stream],
      )
    ).rows.map((row) => [row.offset, row.observation_id, row.workflow_id, row.found]);
  return { stream, aSession, stored };
}

describe("observations", () => {
  test("are stored with their words, among others of their group, without a workflow", async () => {
    const space = await aSpace();
    const { session, batch } = await space.aSession();
    const tree = newId();
    await run([create(tree, { workflowId: tree })]);
    const results = await run([
      entries(tree, [anEvent({ workflowId: tree })]),
      batch([anObservation(session, 1, "a"), anObservation(session, 2, "b", "other")]),
      entries(tree, [anEvent({ workflowId: tree })]),
      batch([anObservation(session, 3, "c")]),
    ]);
    expect(results).toMatchObject([
      { stored: 1, lastOffset: 2 },
      { stored: 2, lastOffset: 2 },
      { stored: 1, lastOffset: 3 },
      { stored: 1, lastOffset: 3 },
    ]);
    expect(await space.stored()).toEqual([
      [1, "a", null, true],
      [2, "b", null, false],
      [3, "c", null, true],
    ]);
  });

  test("an id that was taken is refused for good, and the number is passed in the same transaction", async () => {
    const space = await aSpace();
    const [one, two] = [await space.aSession(), await space.aSession()];
    await run([one.batch([anObservation(one.session, 1, "a")])]);
    const passed = anEvent({
      workflowId: noWorkflow,
      taskExecutionId: "",
      producerId: two.session,
      sequence: 3,
      type: passedType,
      payload: JSON.stringify({ code: RejectionCode.INVALID, message: "no" }),
    });
    const [result] = await run([
      two.batch([
        anObservation(two.session, 1, "b"),
        anObservation(two.session, 2, "a"),
        passed,
        anObservation(two.session, 4, "c"),
      ]),
    ]);
    expect(result).toMatchObject({
      stored: 2,
      lastOffset: 3,
      refusals: [
        { index: 1, why: "observation_exists" },
        { index: 2, why: "passed" },
      ],
    });
    expect(await two.resume()).toMatchObject({
      lastSequence: 4,
      lastOffset: 3,
      rejections: [
        { sequence: 2, code: RejectionCode.ALREADY_EXISTS, message: expect.stringContaining('"a"') },
        { sequence: 3, code: RejectionCode.INVALID, message: "no" },
      ],
    });
    // The same again is a duplicate, not a taken id.
    const again = await run([{ ...one.batch([anObservation(one.session, 1, "a")]) }]);
    expect(again).toMatchObject([{ stored: 0, duplicates: 1, refusals: [] }]);
    expect((await space.stored()).map(([, id]) => id)).toEqual(["a", "b", "c"]);
  });

  test("of the same id in one group are a mistake that stores nothing, in two spaces they are none", async () => {
    const [here, there] = [await aSpace(), await aSpace()];
    const [one, two, other] = [await here.aSession(), await here.aSession(), await there.aSession()];
    const group = [
      one.batch([anObservation(one.session, 1, "a")]),
      two.batch([anObservation(two.session, 1, "a")]),
    ];
    await expect(run(group)).rejects.toThrow(/have the same id/);
    expect(await here.stored()).toEqual([]);
    await run([group[0] as Command, other.batch([anObservation(other.session, 1, "a")])]);
    expect([await here.stored(), await there.stored()].map((rows) => rows.length)).toEqual([1, 1]);
  });

  test("of the same id are kept in different groups", async () => {
    const space = await aSpace();
    const [one, two] = [await space.aSession(), await space.aSession()];
    const same = [
      anObservation(one.session, 1, "a"),
      anObservation(one.session, 2, "b"),
      anObservation(one.session, 3, "a"),
    ];
    expect(splitAtHazards(same).map((part) => part.length)).toEqual([2, 1]);
    const lanes = new Lanes(() => 0);
    lanes.offer(one.batch([anObservation(one.session, 1, "a")]), () => {});
    lanes.offer(two.batch([anObservation(two.session, 1, "a")]), () => {});
    const other = await aSpace();
    const third = await other.aSession();
    lanes.offer(third.batch([anObservation(third.session, 1, "a")]), () => {});
    expect([takeGroup(lanes), takeGroup(lanes)].map((group) => group.length)).toEqual([2, 1]);
  });

  test("an id is judged after the lock, from what was committed before", async () => {
    const space = await aSpace();
    const [one, two] = [await space.aSession(), await space.aSession()];
    const other = await database.connect();
    await client.query("begin");
    await run([one.batch([anObservation(one.session, 1, "a")])]);
    const late = run([two.batch([anObservation(two.session, 1, "a")])], other);
    await until(() => waitingForLock(database.pool));
    await client.query("commit");
    expect(await late).toMatchObject([{ stored: 0, refusals: [{ why: "observation_exists" }] }]);
  });

  test("belong into a space's stream alone, and nothing else without a workflow does", async () => {
    const tree = newId();
    await run([create(tree, { workflowId: tree })]);
    expect(await run([entries(tree, [anEvent({ workflowId: noWorkflow })])])).toMatchObject([
      { stored: 0, refusals: [{ why: "workflow_unknown" }] },
    ]);
  });
});

test("the text that makes most of an index that is known is searched in all of its first 256 KiB", async () => {
  const hostile = Array.from({ length: 60_000 }, (_, i) => `x-${i.toString(36).padStart(3, "0")}`).join(" ");
  const words = async (text: string) => {
    const values = [newId(), Buffer.from(text)];
    const { rows } = await database.pool.query("select length(observation_search($1, $2))", values);
    return rows[0].length as number;
  };
  // Of "x-000" the compound and "000", then once "x" and the mark of the space.
  expect(await words(hostile)).toBeGreaterThan((2 * 256 * 1024) / 7);
  expect(await words("one two")).toBe(3);
});
