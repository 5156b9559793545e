/** StreamMany, and what it shares with Multiplex: labels, targets, errors for one label alone, limits. */
import { createClient } from "@connectrpc/connect";
import { afterEach, describe, expect, test } from "vitest";
import { ClosingReason, EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { EventStreamService, StreamScope } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { type LabelledCall, multiplex, streamMany, type TargetInit } from "../api/multiplex-call.ts";
import { transportsOf } from "../api/transports.ts";
import { newFamily, newWorkflow, publish, repeat, token } from "../api/trees.ts";
import { useServer } from "../support/server.ts";
import { refused } from "./world.ts";

const server = useServer();
const unknown = "00000000-0000-7000-8000-000000000000";
const { WORKFLOW, CONSOLIDATED, TASK } = StreamScope;
const close = (workflowId: string, closeDescendants = false) =>
  server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED, closeDescendants });
const say = (workflowId: string, ...texts: string[]) =>
  publish(
    server.acme,
    texts.map((text) => token(workflowId, text)),
  );

const open: LabelledCall[] = [];
afterEach(async () => {
  for (const call of open.splice(0)) await call[Symbol.asyncDispose]();
});
const keep = (call: LabelledCall) => {
  open.push(call);
  return call;
};

/** The same targets over both calls. */
const ways: [string, (...targets: TargetInit[]) => LabelledCall][] = [
  ["StreamMany", (...targets) => keep(streamMany(server.acme, targets))],
  [
    "Multiplex",
    (...targets) =>
      keep(
        multiplex(server.acme).send(
          ...targets.map((value) => ({ operation: { case: "subscribe", value } }) as const),
        ),
      ),
  ],
];

describe.each(ways)("%s", (_way, start) => {
  test("each label gets what its own call would: workflow, subtree, task", async () => {
    const { root, child, grandchild } = await newFamily(server.acme);
    const call = start(
      { label: "none", workflowId: root },
      { label: "w", workflowId: root, scope: WORKFLOW },
      { label: "c", workflowId: root.toUpperCase(), scope: CONSOLIDATED },
      { label: "t", workflowId: child, scope: TASK, taskExecutionId: "t2" },
    );
    await call.until(() => {
      for (const label of ["none", "w", "c", "t"]) expect(call.of(label).opened).toBeDefined();
    });
    await say(root, "r1");
    await say(grandchild, "g1");
    await publish(server.acme, [
      token(child, "c1", "t1"),
      token(child, "c2", "t2"),
      { workflowId: child, taskExecutionId: "t2", type: EventType.COMPLETED },
    ]);
    await call.until(() => expect(call.of("t").ended?.taskOutcome).toBe(EventType.COMPLETED));
    await close(root, true);
    await call.until(() => {
      for (const label of ["none", "w", "c"]) expect(call.of(label).ended).toBeDefined();
    });
    const texts = (label: string) =>
      call
        .of(label)
        .events.filter(({ taskExecutionId }) => taskExecutionId !== "")
        .map(({ payload }) => payload.value);
    expect(texts("none")).toEqual(["r1"]);
    expect(texts("w")).toEqual(["r1"]);
    expect(texts("c").slice(0, 4)).toEqual(["r1", "g1", "c1", "c2"]);
    expect(texts("t").slice(0, 1)).toEqual(["c2"]);
    expect(call.of("c").opened?.streamId).toBe(call.of("w").opened?.streamId);
  });

  test("a bad target is an error for its label alone, with the code of its own call", async () => {
    const workflowId = await newWorkflow(server.acme);
    const foreign = await newWorkflow(server.globex);
    const bad: [string, Omit<TargetInit, "label">, string, string][] = [
      ["unknown", { workflowId: unknown }, "not_found", unknown],
      ["foreign", { workflowId: foreign }, "permission_denied", ""],
      ["uuid", { workflowId: "x" }, "invalid_argument", "workflow_id"],
      ["none", {}, "invalid_argument", "workflow_id"],
      ["task", { workflowId, scope: TASK }, "invalid_argument", "task_execution_id"],
      [
        "task name",
        { workflowId, scope: TASK, taskExecutionId: "a\nb" },
        "invalid_argument",
        "task_execution_id",
      ],
      [
        "long task",
        { workflowId, scope: TASK, taskExecutionId: "t".repeat(256) },
        "invalid_argument",
        "task_execution_id",
      ],
      ["scope", { workflowId, scope: 9 as StreamScope }, "invalid_argument", "scope"],
      [
        "beyond",
        { workflowId, options: { start: { case: "afterOffset", value: 99n } } },
        "out_of_range",
        "99",
      ],
      [
        "offset",
        { workflowId, options: { start: { case: "afterOffset", value: 9007199254740992n } } },
        "invalid_argument",
        "options.after_offset",
      ],
      ["epoch", { workflowId, options: { expectedEpoch: 999_999n } }, "aborted", ""],
      ["types", { workflowId, options: { types: [0] } }, "invalid_argument", "options.types[0]"],
      [
        "interval",
        { workflowId, options: { minIntervalMs: 60_001 } },
        "invalid_argument",
        "options.min_interval_ms",
      ],
      ["below", { workflowId, options: { minIntervalMs: 15_000 } }, "invalid_argument", "min_interval_ms"],
      [
        "beat",
        { workflowId, options: { heartbeatIntervalMs: 1 } },
        "invalid_argument",
        "options.heartbeat_interval_ms",
      ],
      [
        "conflate",
        { workflowId, options: { conflateTypes: [1] } },
        "invalid_argument",
        "options.conflate_types[0]",
      ],
      [
        "tasks",
        { workflowId, options: { taskExecutionIds: ["a", ""] } },
        "invalid_argument",
        "options.task_execution_ids[1]",
      ],
    ];
    const call = start(...bad.map(([label, target]) => ({ label, ...target })), {
      label: "good",
      workflowId,
    });
    await call.until(() => {
      for (const [label] of bad) expect(call.of(label).error, label).toBeDefined();
      expect(call.of("good").opened).toBeDefined();
    });
    for (const [label, , code, word] of bad) {
      expect(`${label}: ${call.of(label).error?.code}`).toBe(`${label}: ${code}`);
      expect(call.of(label).error?.message).toContain(word);
    }
    await say(workflowId, "still here");
    await call.until(() => expect(call.of("good").texts).toContain("still here"));
    expect(call.hasFinished).toBe(false);
  });

  test("a label of 64 characters is taken, also of emoji; one of 65 is INVALID_ARGUMENT for itself alone", async () => {
    const workflowId = await newWorkflow(server.acme);
    const labels = ["l".repeat(64), "😀".repeat(64), "\u0001", " "];
    const call = start(...labels.map((label) => ({ label, workflowId })), {
      label: "l".repeat(65),
      workflowId,
    });
    await call.until(() => {
      for (const label of labels) expect(call.of(label).opened, label).toBeDefined();
      expect(call.of("l".repeat(65)).error?.code).toBe("invalid_argument");
    });
    expect(call.of("l".repeat(65)).error?.message).toContain("label");
  });

  test("an ended label leaves the others alone; a workflow may have several labels", async () => {
    const [one, two] = [await newWorkflow(server.acme), await newWorkflow(server.acme)];
    const call = start(
      { label: "1", workflowId: one },
      { label: "1 again", workflowId: one, options: { types: [EventType.TOKEN] } },
      { label: "2", workflowId: two },
    );
    await say(one, "a");
    await close(one);
    await call.until(() => {
      expect(call.of("1").ended).toBeDefined();
      expect(call.of("1 again").ended).toBeDefined();
    });
    expect(call.of("1 again").texts).toEqual(["a"]);
    await say(two, "b");
    await call.until(() => expect(call.of("2").texts).toContain("b"));
    expect(call.hasFinished).toBe(false);
  });

  test("options count for each label: start, types, tasks, heartbeat, idle", async () => {
    const workflowId = await newWorkflow(server.acme);
    await publish(server.acme, [token(workflowId, "1", "x"), token(workflowId, "2", "y")]);
    const call = start(
      { label: "all", workflowId },
      { label: "late", workflowId, options: { start: { case: "latest", value: true } } },
      { label: "after", workflowId, options: { start: { case: "afterOffset", value: 2n } } },
      { label: "task", workflowId, options: { taskExecutionIds: ["x"] } },
      { label: "idle", workflowId, options: { idleTimeoutMs: 1500, heartbeatIntervalMs: 1000 } },
    );
    await call.until(() => expect(call.of("idle").closing?.reason).toBe(ClosingReason.IDLE_TIMEOUT));
    expect(call.of("idle").heartbeats.length).toBeGreaterThan(0);
    await publish(server.acme, [token(workflowId, "3", "x")]);
    await call.until(() => {
      expect(call.of("all").texts.slice(1)).toEqual(["1", "2", "3"]);
      expect(call.of("late").texts).toEqual(["3"]);
      expect(call.of("after").texts).toEqual(["2", "3"]);
      expect(call.of("task").texts).toEqual(["1", "3"]);
    });
    expect(call.hasFinished).toBe(false);
  });

  test("a busy label does not hold up a quiet one", async () => {
    const [busy, quiet] = [await newWorkflow(server.acme), await newWorkflow(server.acme)];
    const call = start({ label: "busy", workflowId: busy }, { label: "quiet", workflowId: quiet });
    const writing = publish(
      server.acme,
      repeat(20_000, (i) => token(busy, `${i}`)),
    );
    await say(quiet, "hello");
    await call.until(() => expect(call.of("quiet").texts).toContain("hello"));
    await writing;
    await call.until(() => expect(call.of("busy").events).toHaveLength(20_001));
    expect(call.of("busy").texts.slice(1)).toEqual(repeat(20_000, (i) => `${i}`));
  });
});

describe("StreamMany alone", () => {
  test("ends OK when all have ended, errors included", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using call = streamMany(server.acme, [
      { label: "a", workflowId },
      { label: "b", workflowId: unknown },
    ]);
    await call.until(() => expect(call.of("b").error).toBeDefined());
    expect(call.hasFinished).toBe(false);
    await close(workflowId);
    await call.end();
    expect(call.of("a").ended).toBeDefined();
  });

  test("with nothing but bad targets ends OK", async () => {
    await using call = await streamMany(server.acme, [{ label: "b", workflowId: unknown }]).end();
    expect(call.of("b").error?.code).toBe("not_found");
  });

  test("500 targets are taken; 501 and none are INVALID_ARGUMENT at targets", async () => {
    const workflowId = await newWorkflow(server.acme);
    const targets = (count: number) => repeat(count, (i) => ({ label: `l${i}`, workflowId }));
    await using call = streamMany(server.acme, targets(500));
    await call.until(
      () => expect([...call.labels.values()].filter(({ opened }) => opened)).toHaveLength(500),
      30_000,
    );
    await say(workflowId, "x");
    await close(workflowId);
    await call.end(20_000);
    for (const transcript of call.labels.values()) expect(transcript.texts.slice(1, 2)).toEqual(["x"]);
    await refused(server.acme.streams.streamMany({ targets: targets(501) }), "InvalidArgument", "targets");
    await refused(server.acme.streams.streamMany({ targets: [] }), "InvalidArgument", "targets");
  });

  test("an empty label is INVALID_ARGUMENT for itself alone", async () => {
    const workflowId = await newWorkflow(server.acme);
    await close(workflowId);
    await using call = await streamMany(server.acme, [
      { label: "", workflowId },
      { label: "a", workflowId },
    ]).end();
    expect(call.of("").error?.code).toBe("invalid_argument");
    expect(call.of("a").ended).toBeDefined();
  });

  test("a label twice is an error, and not of a bug", async () => {
    const workflowId = await newWorkflow(server.acme);
    await close(workflowId);
    const call = streamMany(server.acme, [
      { label: "a", workflowId },
      { label: "a", workflowId },
      { label: "b", workflowId },
    ]);
    const answer = await call.end().then(
      () => `in-band ${call.of("a").error?.code}`,
      (error: Error) => error.message,
    );
    expect(answer).toMatch(
      /^\[(invalid_argument|already_exists)\]|^in-band (invalid_argument|already_exists)/,
    );
  });

  test("initial_grant is for Multiplex and does not count here", async () => {
    const workflowId = await newWorkflow(server.acme);
    await say(workflowId, "1", "2", "3");
    await close(workflowId);
    await using call = await streamMany(server.acme, [{ label: "a", workflowId, initialGrant: 0 }]).end();
    expect(call.of("a").events).toHaveLength(5);
  });

  test("over every protocol and HTTP version", async () => {
    const workflowId = await newWorkflow(server.acme);
    await say(workflowId, "漢 😀");
    await close(workflowId);
    for (const [protocol, transport] of transportsOf(server.url, server.acme.key)) {
      const streams = createClient(EventStreamService, transport);
      await using call = await streamMany({ streams }, [
        { label: "é", workflowId },
        { label: "b", workflowId: unknown },
      ]).end();
      expect(call.of("é").texts, protocol).toEqual([expect.any(String), "漢 😀", ""]);
      expect(call.of("é").ended?.finalOffset, protocol).toBe(3n);
      expect(call.of("b").error?.code, protocol).toBe("not_found");
      await refused(streams.streamMany({ targets: [] }), "InvalidArgument", "targets");
    }
  });

  test("a hundred calls of twenty labels see one event each", async () => {
    const workflowId = await newWorkflow(server.acme);
    const calls = repeat(100, () =>
      streamMany(
        server.acme,
        repeat(20, (i) => ({ label: `${i}`, workflowId, options: { types: [EventType.TOKEN] } })),
      ),
    );
    for (const call of calls)
      await call.until(() =>
        expect([...call.labels.values()].filter(({ opened }) => opened)).toHaveLength(20),
      );
    await say(workflowId, "x");
    await close(workflowId);
    for (const call of calls) {
      await call.end(20_000);
      for (const { texts } of call.labels.values()) expect(texts).toEqual(["x"]);
    }
  });
});
