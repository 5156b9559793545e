/** Where sizes, limits, ends and the order of writing meet: what a client in production would run into. */
import { create, type JsonValue, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { SystemEventType } from "../../gen/tributary/v1/admin_service_pb.ts";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { EventStreamService } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import {
  ListVariablesResponseSchema,
  MissingVariablesSchema,
  SetVariablesResponseSchema,
  VariableConflictSchema,
  VariableService,
  VariableType,
  WatchVariablesResponseSchema,
} from "../../gen/tributary/v1/variable_service_pb.ts";
import { codeOf, errorOf } from "../api/codes.ts";
import { multiplex } from "../api/multiplex-call.ts";
import { follow } from "../api/subscription.ts";
import { transportsOf } from "../api/transports.ts";
import { newWorkflow, publish, readAll, repeat, token } from "../api/trees.ts";
import { createTenant, useServer } from "../support/server.ts";
import { openSession } from "../support/session-call.ts";
import { assign, setVariable, Watching } from "../support/variable-call.ts";
import { refused, text } from "./world.ts";

const server = useServer();
const mib = 1024 * 1024;
const close = (workflowId: string) =>
  server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
/** A value that is small as JSON and 5 times as large as protobuf. */
const ones = (count: number): JsonValue => repeat(count, () => 1);

describe("errors that carry much", () => {
  const protocols = () =>
    transportsOf(server.url, server.acme.key).map(
      ([protocol, transport]) => [protocol, createClient(VariableService, transport)] as const,
    );

  test.each([10, 100, 1000])(
    "%i unknown names of 255 characters are NOT_FOUND in every protocol",
    async (count) => {
      const workflowId = await newWorkflow(server.acme);
      const names = repeat(count, (i) => `${i}`.padStart(255, "n"));
      const answers: Record<string, string> = {};
      for (const [protocol, variables] of protocols()) {
        const error = await errorOf(variables.watchVariables({ workflowId, names }));
        const listed = error.findDetails(MissingVariablesSchema)[0]?.names.length ?? 0;
        answers[protocol] = `${error.message.slice(0, 11)} ${listed > 0}`;
      }
      expect(new Set(Object.values(answers)), JSON.stringify(answers)).toEqual(new Set(["[not_found] true"]));
    },
  );

  test("a hundred long choices do not break the refusal", async () => {
    const workflowId = await newWorkflow(server.acme);
    const choices = repeat(100, (i) => `${i}`.padStart(255, "漢"));
    await setVariable(server.acme, workflowId, "a", choices[0] ?? "", {
      type: VariableType.CHOICE,
      constraints: { choices },
    });
    for (const [protocol, variables] of protocols())
      expect(
        await codeOf(variables.setVariable({ workflowId, assignment: assign("a", "x") })),
        protocol,
      ).toBe("InvalidArgument");
  });

  test("a thousand conflicts are ABORTED in every protocol", async () => {
    const workflowId = await newWorkflow(server.acme);
    const names = repeat(1000, (i) => `${i}`.padStart(255, "n"));
    const assignments = names.map((name) => assign(name, 1, { expectedVersion: 5n }));
    for (const [protocol, variables] of protocols()) {
      const error = await errorOf(variables.setVariables({ workflowId, assignments }));
      expect(`${protocol} ${error.message.slice(0, 9)}`).toBe(`${protocol} [aborted]`);
      expect(error.findDetails(VariableConflictSchema).length, protocol).toBeGreaterThan(0);
    }
  });

  test.each([
    ["pattern", { type: VariableType.STRING, constraints: { pattern: "b" } }],
    ["max_length", { type: VariableType.STRING, constraints: { maxLength: 1 } }],
    ["type", { type: VariableType.INTEGER }],
  ])("a value of 200 KB that breaks its %s is refused in every protocol", async (_, rest) => {
    const workflowId = await newWorkflow(server.acme);
    const assignment = assign("a", "漢".repeat(70_000), rest);
    for (const [protocol, variables] of protocols())
      expect(await codeOf(variables.setVariable({ workflowId, assignment })), protocol).toBe(
        "InvalidArgument",
      );
  });

  test("a name of 255 emoji in the message", async () => {
    const workflowId = await newWorkflow(server.acme);
    for (const [protocol, variables] of protocols())
      expect(await codeOf(variables.getVariable({ workflowId, name: "😀".repeat(255) })), protocol).toBe(
        "NotFound",
      );
  });

  test("a request over 4 MiB is refused and says so", async () => {
    const workflowId = await newWorkflow(server.acme);
    for (const [protocol, variables] of protocols()) {
      const call = variables.setVariable({ workflowId, assignment: assign("a", "x".repeat(5 * mib)) });
      expect(["ResourceExhausted", "InvalidArgument"], protocol).toContain(await codeOf(call));
    }
  });
});

describe("no message over 3 MiB", () => {
  test("a change from one large list to another", async () => {
    const workflowId = await newWorkflow(server.acme);
    const metadata = { a: "x".repeat(16_000) };
    await using watch = new Watching(server.acme, { workflowId });
    await watch.open();
    await setVariable(server.acme, workflowId, "a", ones(131_071), { metadata });
    await setVariable(server.acme, workflowId, "a", ones(131_071));
    await watch.until(() => expect(watch.updates).toHaveLength(2));
    for (const message of watch.messages)
      expect(
        toBinary(WatchVariablesResponseSchema, create(WatchVariablesResponseSchema, { message })).length,
      ).toBeLessThan(3 * mib);
  });

  test("a snapshot, a history and a page of large lists", async () => {
    const workflowId = await newWorkflow(server.acme);
    for (let i = 0; i < 8; i++) await setVariable(server.acme, workflowId, `v${i}`, ones(60_000));
    await close(workflowId);
    for (const request of [
      { includeInitialValues: true },
      { options: { start: { case: "afterOffset", value: 0n } as const } },
    ]) {
      await using watch = new Watching(server.acme, { workflowId, ...request });
      await watch.until(() => expect(watch.cases).toContain("ended"));
      expect(watch.updates).toHaveLength(8);
      for (const message of watch.messages)
        expect(
          toBinary(WatchVariablesResponseSchema, create(WatchVariablesResponseSchema, { message })).length,
        ).toBeLessThan(3 * mib);
    }
    const page = await server.acme.variables.listVariables({ workflowId });
    expect(toBinary(ListVariablesResponseSchema, page).length).toBeLessThan(3 * mib);
  });

  test("variables with 100 long choices, listed, watched from the start and as history", async () => {
    const workflowId = await newWorkflow(server.acme);
    const constraints = { choices: repeat(100, (i) => `${i}`.padStart(128, "😀")) };
    for (let i = 0; i < 70; i++)
      await setVariable(server.acme, workflowId, `v${i}`, constraints.choices[0] ?? "", {
        type: VariableType.CHOICE,
        constraints,
      });
    await close(workflowId);
    const page = await server.acme.variables.listVariables({ workflowId, pageSize: 1000 });
    expect(toBinary(ListVariablesResponseSchema, page).length).toBeLessThan(1.2 * mib);
    for (const request of [
      { includeInitialValues: true },
      { options: { start: { case: "afterOffset", value: 0n } as const } },
    ]) {
      await using watch = new Watching(server.acme, { workflowId, ...request });
      await watch.until(() => expect(watch.cases).toContain("ended"));
      expect(watch.updates).toHaveLength(70);
      for (const message of watch.messages)
        expect(
          toBinary(WatchVariablesResponseSchema, create(WatchVariablesResponseSchema, { message })).length,
        ).toBeLessThan(3 * mib);
    }
  });

  test("the answer to SetVariables of large lists", async () => {
    const workflowId = await newWorkflow(server.acme);
    const assignments = repeat(5, (i) => assign(`v${i}`, ones(66_000)));
    const answer = await server.acme.variables
      .setVariables({ workflowId, assignments })
      .catch((error: Error) => error);
    if (answer instanceof Error) expect(answer.message).toMatch(/^\[(invalid_argument|resource_exhausted)\]/);
    else expect(toBinary(SetVariablesResponseSchema, answer).length).toBeLessThan(3 * mib);
  });

  test("a source of a megabyte", async () => {
    const workflowId = await newWorkflow(server.acme);
    const source = "s".repeat(1_000_000);
    const set = () =>
      server.acme.variables.setVariable({
        workflowId,
        assignment: { name: "a", value: text("x".repeat(262_000)) },
        source,
      });
    const answer = await set().then(
      () => "taken",
      (error: Error) => error.message,
    );
    if (answer !== "taken") return expect(answer).toMatch(/^\[invalid_argument\] source/);
    await set();
    const events = await readAll(server.acme, workflowId);
    for (const { payload } of events)
      expect(Buffer.byteLength(String(payload.value))).toBeLessThanOrEqual(mib);
  });

  test("no event's payload is over 1 MiB, whatever is set", async () => {
    const workflowId = await newWorkflow(server.acme);
    const metadata = { a: "\u0001".repeat(16_000) };
    for (let i = 0; i < 3; i++)
      await setVariable(server.acme, workflowId, "a", "\u0001".repeat(43_600), { metadata });
    for (const { payload } of await readAll(server.acme, workflowId))
      expect(Buffer.byteLength(String(payload.value))).toBeLessThanOrEqual(mib);
  });
});

describe("the order of acceptance", () => {
  test("events, variables and the end, whatever call they came by", async () => {
    for (let round = 0; round < 10; round++) {
      const workflowId = await newWorkflow(server.acme);
      for (let i = 0; i < 10; i++) {
        await server.acme.tasks.streamTaskData({
          workflowExecutionId: workflowId,
          taskExecutionId: "t",
          type: EventType.TOKEN,
          payload: `${i}`,
        });
        if (i % 2 === 0) await setVariable(server.acme, workflowId, "a", i);
      }
      await close(workflowId);
      const events = await readAll(server.acme, workflowId);
      const said = events.map(({ type, payload }) =>
        type === EventType.VARIABLE_SET
          ? `set ${JSON.parse(String(payload.value)).value}`
          : type === EventType.TOKEN
            ? payload.value
            : type,
      );
      expect(said).toEqual([
        EventType.WORKFLOW_CREATED,
        ...repeat(10, (i) => (i % 2 === 0 ? [`${i}`, `set ${i}`] : [`${i}`])).flat(),
        EventType.WORKFLOW_COMPLETED,
      ]);
    }
  });

  test("sets that race with the close are before it or FAILED_PRECONDITION", async () => {
    const workflowId = await newWorkflow(server.acme);
    const sets = repeat(60, async (i) => {
      await new Promise((resolve) => setTimeout(resolve, i));
      return setVariable(server.acme, workflowId, `v${i}`, i).then(
        ({ offset }) => offset,
        (error: Error) => error.message,
      );
    });
    await new Promise((resolve) => setTimeout(resolve, 30));
    const { offset } = await close(workflowId);
    for (const answer of await Promise.all(sets))
      if (typeof answer === "bigint") expect(answer).toBeLessThan(offset);
      else expect(answer).toMatch(/^\[failed_precondition\]/);
    expect((await readAll(server.acme, workflowId)).at(-1)?.offset).toBe(offset);
  });
});

describe("what is accepted and cannot be stored", () => {
  test("is told by one ENTRY_DROPPED each: accepted ones are stored or told, also in a race with the terminal event", async () => {
    const tenant = await createTenant(server.admin, "dropping");
    const abort = new AbortController();
    let dropped = 0;
    let heard = 0;
    const listening = (async () => {
      for await (const { message } of tenant.admin.streamSystemEvents({}, { signal: abort.signal })) {
        if (message.case !== "event") continue;
        heard++;
        if (message.value.type === SystemEventType.ENTRY_DROPPED) dropped++;
      }
    })().catch(() => {});
    await expect
      .poll(async () => {
        const session = await openSession(tenant, await newWorkflow(tenant));
        session.say("close", { drain: true });
        await session.ended;
        return heard;
      })
      .toBeGreaterThan(0);
    let lost = 0;
    for (let round = 0; round < 10; round++) {
      const workflowExecutionId = await newWorkflow(tenant);
      const tell = (type: EventType) =>
        tenant.tasks.streamTaskData({ workflowExecutionId, taskExecutionId: "t", type, payload: "x" }).then(
          () => 1,
          () => 0,
        );
      const accepted = await Promise.all([
        tell(EventType.TOKEN),
        tell(EventType.COMPLETED),
        tell(EventType.TOKEN),
        tell(EventType.TOKEN),
      ]);
      await tenant.workflows.closeWorkflow({
        workflowId: workflowExecutionId,
        status: WorkflowStatus.COMPLETED,
      });
      const stored = (await readAll(tenant, workflowExecutionId)).length - 2;
      lost += accepted.reduce((sum, one) => sum + one, 0) - stored;
    }
    await expect.poll(() => dropped).toBe(lost);
    abort.abort();
    await listening;
  });
});

describe("a tree that is closed in part", () => {
  test("a closed root does not stop the variables of its open child", async () => {
    const root = await newWorkflow(server.acme);
    const child = await newWorkflow(server.acme, root);
    await setVariable(server.acme, root, "a", 1);
    await close(root);
    await refused(setVariable(server.acme, root, "a", 2), "FailedPrecondition");
    expect((await setVariable(server.acme, child, "a", 1)).version).toBe(1n);
    await server.acme.variables.deleteVariable({ workflowId: child, name: "a" });
    await close(child);
  });
});

describe("Multiplex on HTTP/1.1", () => {
  test("which cannot carry it, ends with an error and does not hang", async () => {
    const workflowId = await newWorkflow(server.acme);
    const [, transport] =
      transportsOf(server.url, server.acme.key).find(([name]) => name === "Connect on HTTP/1.1") ?? [];
    if (transport === undefined) throw new Error("no such transport");
    await using call = multiplex({ streams: createClient(EventStreamService, transport) });
    call.subscribe("a", { workflowId });
    const outcome = await Promise.race([
      call.finished.then(
        () => "OK",
        () => "an error",
      ),
      call.until(() => expect(call.of("a").opened).toBeDefined(), 5000).then(() => "it works"),
    ]);
    expect(["an error", "it works"]).toContain(outcome);
  });
});

describe("Server-Sent Events of variables", () => {
  test("variable_set and variable_deleted with offset as id; left out for a token without variables", async () => {
    const workflowId = await newWorkflow(server.acme);
    await setVariable(server.acme, workflowId, "a", "漢");
    await server.acme.variables.deleteVariable({ workflowId, name: "a" });
    await publish(server.acme, [token(workflowId, "x")]);
    await close(workflowId);
    const read = async (credential: string, query = "") => {
      const url = `${server.url}/api/tenants/acme/stream/workflows/${workflowId}${query}`;
      const response = await fetch(url, { headers: { authorization: `Bearer ${credential}` } });
      return (await response.text()).split("\n");
    };
    const names = (lines: string[]) =>
      lines.filter((line) => line.startsWith("event:")).map((line) => line.slice(6).trim());
    const all = await read(server.acme.key);
    expect(names(all)).toEqual([
      "open",
      "workflow_created",
      "variable_set",
      "variable_deleted",
      "token",
      "workflow_completed",
      "end",
    ]);
    const at = all.findIndex((line) => line.startsWith("event:") && line.includes("variable_set"));
    const block = all.slice(Math.max(0, at - 3), at + 4);
    expect(block.some((line) => /^id: ?2$/.test(line))).toBe(true);
    expect(names(await read(server.acme.key, "?types=VARIABLE_SET"))).toEqual([
      "open",
      "variable_set",
      "end",
    ]);
    const { token: jwt } = await server.acme.tokens.createStreamToken({ workflowIds: [workflowId] });
    expect(names(await read(jwt))).toEqual([
      "open",
      "workflow_created",
      "token",
      "workflow_completed",
      "end",
    ]);
  });
});

describe("slow readers of a multiplexed call", () => {
  test("one that does not read slows nobody and gets everything later", async () => {
    const workflowId = await newWorkflow(server.acme);
    const abort = new AbortController();
    const slow = server.acme.streams
      .streamMany({ targets: repeat(5, (i) => ({ label: `${i}`, workflowId })) }, { signal: abort.signal })
      [Symbol.asyncIterator]();
    await slow.next();
    await using quick = follow((options) => server.acme.streams.streamWorkflow({ workflowId }, options));
    await quick.open();
    for (let i = 0; i < 20; i++)
      await publish(
        server.acme,
        repeat(50, (j) => token(workflowId, `${i * 50 + j}`.padEnd(20_000, "."))),
      );
    await close(workflowId);
    await quick.end(20_000);
    expect(quick.events).toHaveLength(1002);
    const counts = new Map<string, number>();
    let ends = 0;
    for (;;) {
      const { done, value: answer } = await slow.next();
      if (done) break;
      if (answer.result.case !== "message") throw new Error(String(answer.result.case));
      const { message } = answer.result.value;
      if (message.case === "ended") ends++;
      if (message.case !== "events") continue;
      for (const { offset } of message.value.events) {
        const next = (counts.get(answer.label) ?? 0) + 1;
        expect(offset).toBe(BigInt(next));
        counts.set(answer.label, next);
      }
    }
    abort.abort();
    expect([ends, [...counts.values()]]).toEqual([5, repeat(5, () => 1002)]);
  });
});

describe("limits that the words do not tell", () => {
  test("a source of 4096 bytes is taken", async () => {
    const workflowId = await newWorkflow(server.acme);
    const source = "é".repeat(2048);
    const { variable } = await server.acme.variables.setVariable({
      workflowId,
      assignment: assign("a", 1),
      source,
    });
    expect(variable?.source).toBe(source);
  });

  test("a label over the limit is an error for itself alone, and free places are used again", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using call = multiplex(server.acme);
    for (let i = 0; i < 501; i++)
      call.subscribe(`l${i}`, { workflowId, options: { types: [EventType.TOKEN] } });
    await call.until(() => expect(call.of("l500").error?.code).toBe("resource_exhausted"), 20_000);
    call.unsubscribe("l0").subscribe("l500", { workflowId });
    await call.until(() => expect(call.of("l500").opened).toBeDefined());
    await publish(server.acme, [token(workflowId, "x")]);
    await call.until(() => expect(call.of("l499").texts).toEqual(["x"]));
  });
});
