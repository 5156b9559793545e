/** conflate_types and min_interval_ms of event streams, from the words of event.proto alone. */
import { describe, expect, test } from "vitest";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { follow, readToEnd } from "../api/subscription.ts";
import { newFamily, newWorkflow, publish, repeat, type TaskEventInit, token } from "../api/trees.ts";
import { useServer } from "../support/server.ts";
import { setVariable } from "../support/variable-call.ts";
import { refused } from "./world.ts";

const server = useServer();
const { TOKEN, PROGRESS, DATA, OUTPUT, COMPLETED, VARIABLE_SET, VARIABLE_DELETED } = EventType;
const conflateTypes = [PROGRESS, DATA, OUTPUT, VARIABLE_SET, VARIABLE_DELETED];
const close = (workflowId: string) =>
  server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
const an = (workflowId: string, type: EventType, value: string, taskExecutionId = "t"): TaskEventInit => ({
  workflowId,
  taskExecutionId,
  type,
  payload: { case: "text", value },
});

describe("conflate_types", () => {
  test("only the newest per workflow, task and type of what is pending; `replaced` counts the rest; others stay whole", async () => {
    const { root, child } = await newFamily(server.acme);
    const events = repeat(10, (i) => [
      token(root, `token ${i}`),
      an(root, PROGRESS, `p ${i}`, "x"),
      an(root, PROGRESS, `p ${i}`, "y"),
      an(child, PROGRESS, `p ${i}`, "x"),
      an(root, DATA, `d ${i}`, "x"),
      an(root, OUTPUT, `o ${i}`, "x"),
    ]).flat();
    await publish(server.acme, events);
    await server.acme.workflows.closeWorkflow({
      workflowId: root,
      status: WorkflowStatus.COMPLETED,
      closeDescendants: true,
    });
    const read = await readToEnd((options) =>
      server.acme.streams.streamWorkflowConsolidated(
        { workflowId: root, options: { conflateTypes, types: [TOKEN, PROGRESS, DATA, OUTPUT] } },
        options,
      ),
    );
    expect(
      read.events
        .filter(({ type }) => type === TOKEN)
        .map(({ payload, replaced }) => [payload.value, replaced]),
    ).toEqual(repeat(10, (i) => [`token ${i}`, 0]));
    const others = read.events.filter(({ type }) => type !== TOKEN);
    const keys = others.map(
      ({ workflowId, taskExecutionId, type }) => `${workflowId} ${taskExecutionId} ${type}`,
    );
    for (const key of new Set(keys)) {
      const of = others.filter((_, i) => keys[i] === key);
      expect(of.reduce((sum, { replaced }) => sum + 1 + replaced, 0)).toBe(10);
      expect(String(of.at(-1)?.payload.value)).toMatch(/9$/);
    }
    expect(new Set(keys).size).toBe(5);
    expect(others.length).toBeLessThan(50);
  });

  test("a type that is not named stays whole, and without the option so does everything", async () => {
    const workflowId = await newWorkflow(server.acme);
    await publish(
      server.acme,
      repeat(20, (i) => an(workflowId, i % 2 === 0 ? PROGRESS : DATA, `${i}`)),
    );
    await close(workflowId);
    const read = (options: object) =>
      readToEnd((call) =>
        server.acme.streams.streamWorkflow(
          { workflowId, options: { types: [PROGRESS, DATA], ...options } },
          call,
        ),
      );
    expect((await read({})).texts).toEqual(repeat(20, (i) => `${i}`));
    const some = await read({ conflateTypes: [PROGRESS] });
    expect(some.events.filter(({ type }) => type === DATA)).toHaveLength(10);
    expect(some.events.filter(({ type }) => type === PROGRESS).map(({ replaced }) => replaced)).toEqual([9]);
  });

  test("resumed after the offset of a conflated event, the sums still fit", async () => {
    const workflowId = await newWorkflow(server.acme);
    await publish(
      server.acme,
      repeat(3000, (i) => an(workflowId, PROGRESS, `${i}`)),
    );
    await close(workflowId);
    let last = 0n;
    let sum = 0;
    for (;;) {
      await using reading = follow((call) =>
        server.acme.streams.streamWorkflow(
          {
            workflowId,
            options: {
              conflateTypes: [PROGRESS],
              types: [PROGRESS],
              start: { case: "afterOffset", value: last },
            },
          },
          call,
        ),
      );
      await reading.until(() => expect(reading.events.length > 0 || reading.ended !== undefined).toBe(true));
      const [first] = reading.events;
      if (first === undefined) break;
      sum += 1 + first.replaced;
      last = first.offset;
    }
    expect(sum).toBe(3000);
  });

  test("deletions and sets of variables are told apart by type and by name", async () => {
    const workflowId = await newWorkflow(server.acme);
    for (let i = 0; i < 4; i++)
      for (const name of ["a", "b"]) await setVariable(server.acme, workflowId, name, i);
    await server.acme.variables.deleteVariable({ workflowId, name: "a" });
    await close(workflowId);
    const read = await readToEnd((call) =>
      server.acme.streams.streamWorkflow(
        { workflowId, options: { conflateTypes, types: conflateTypes } },
        call,
      ),
    );
    // Per (workflow, name): the newest of "a" is its deletion, which stands for the four sets.
    expect(read.events.map(({ type, replaced }) => [type, replaced])).toEqual([
      [VARIABLE_SET, 3],
      [VARIABLE_DELETED, 4],
    ]);
  });

  test.each([
    TOKEN,
    EventType.ERROR,
    EventType.STARTED,
    EventType.TOOL_CALL,
    COMPLETED,
    EventType.WORKFLOW_CREATED,
    0,
    99,
  ])("type %i cannot be conflated: INVALID_ARGUMENT at options.conflate_types[1]", async (type) => {
    const workflowId = await newWorkflow(server.acme);
    await refused(
      server.acme.streams.streamWorkflow({
        workflowId,
        options: { conflateTypes: [DATA, type as EventType] },
      }),
      "InvalidArgument",
      "options.conflate_types[1]",
    );
  });
});

describe("min_interval_ms", () => {
  const paced = (workflowId: string, options: object) => {
    const times: number[] = [];
    const subscription = follow(async function* (call) {
      for await (const answer of server.acme.streams.streamWorkflowConsolidated(
        { workflowId, options },
        call,
      )) {
        if (answer.message?.message.case !== "opened") times.push(performance.now());
        yield answer;
      }
    });
    return { subscription, times };
  };

  test("at most one message of events per interval, and nothing lost", async () => {
    const workflowId = await newWorkflow(server.acme);
    const { subscription, times } = paced(workflowId, {
      minIntervalMs: 500,
      start: { case: "latest", value: true },
    });
    await using reading = subscription;
    await reading.open();
    for (let i = 0; i < 40; i++) {
      await publish(server.acme, [token(workflowId, `${i}`)]);
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    await reading.until(() => expect(reading.texts).toEqual(repeat(40, (i) => `${i}`)));
    // What is late by the machine's doing makes one interval shorter, never the whole.
    const [first = 0] = times;
    const last = times.at(-1) ?? 0;
    expect(last - first).toBeGreaterThan(500 * (times.length - 1) - 100);
    expect(reading.batchSizes.length).toBeLessThan(12);
  });

  test("the history before it is live is not slowed down", async () => {
    const workflowId = await newWorkflow(server.acme);
    await publish(
      server.acme,
      repeat(5000, (i) => token(workflowId, `${i}`)),
    );
    await close(workflowId);
    const begun = Date.now();
    const { subscription } = paced(workflowId, { minIntervalMs: 5000 });
    await using reading = subscription;
    await reading.end();
    expect(reading.events).toHaveLength(5002);
    expect(Date.now() - begun).toBeLessThan(5000);
  });

  test.each([
    ["a task", COMPLETED],
    ["a failed task", EventType.FAILED],
    ["a cancelled task", EventType.CANCELLED],
  ] as const)("the terminal event of %s flushes all before it at once", async (_, type) => {
    const workflowId = await newWorkflow(server.acme);
    const { subscription } = paced(workflowId, {
      minIntervalMs: 14_000,
      start: { case: "latest", value: true },
    });
    await using reading = subscription;
    await reading.open();
    await publish(server.acme, [token(workflowId, "first")]);
    await reading.until(() => expect(reading.texts).toEqual(["first"]));
    await publish(server.acme, [token(workflowId, "pending")]);
    const begun = Date.now();
    await publish(server.acme, [an(workflowId, type, "over")]);
    await reading.until(() => expect(reading.texts).toEqual(["first", "pending", "over"]), 5000);
    expect(Date.now() - begun).toBeLessThan(3000);
  });

  test("the terminal event of a child flushes its tree", async () => {
    const { root, child } = await newFamily(server.acme);
    const { subscription } = paced(root, { minIntervalMs: 14_000, start: { case: "latest", value: true } });
    await using reading = subscription;
    await reading.open();
    await publish(server.acme, [token(root, "first")]);
    await reading.until(() => expect(reading.texts).toEqual(["first"]));
    await publish(server.acme, [token(root, "pending")]);
    await close(child);
    await reading.until(() => expect(reading.events).toHaveLength(3), 5000);
  });

  test.each([
    [{ minIntervalMs: 15_000 }, false],
    [{ minIntervalMs: 14_999 }, true],
    [{ minIntervalMs: 60_000, heartbeatIntervalMs: 60_000 }, false],
    [{ minIntervalMs: 60_000, heartbeatIntervalMs: 60_001 }, true],
    [{ minIntervalMs: 60_001, heartbeatIntervalMs: 300_000 }, false],
    [{ minIntervalMs: 1000, idleTimeoutMs: 1000 }, false],
    [{ minIntervalMs: 1000, idleTimeoutMs: 1001 }, true],
    [{ minIntervalMs: 1000, heartbeatIntervalMs: 1001, idleTimeoutMs: 900 }, false],
    [{ minIntervalMs: 0, heartbeatIntervalMs: 1000, idleTimeoutMs: 1 }, true],
  ])("%j is taken: %s", async (options, taken) => {
    const workflowId = await newWorkflow(server.acme);
    await close(workflowId);
    const call = (signal: object) => server.acme.streams.streamWorkflow({ workflowId, options }, signal);
    if (taken) await readToEnd(call);
    else await refused(call({}), "InvalidArgument", "min_interval_ms");
  });
});
