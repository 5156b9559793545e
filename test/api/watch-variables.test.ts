/** Watching variables as callers see it. That nothing is missed at any point is in test/db/watch-variables.test.ts. */
import type { JsonValue } from "@bufbuild/protobuf";
import { Code, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { ClosingReason, EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import {
  MissingVariablesSchema,
  VariableService,
  VariableType,
  VariableUpdateType,
} from "../../gen/tributary/v1/variable_service_pb.ts";
import { limits } from "../../server/core/limits.ts";
import { type Clients, useServer } from "../support/server.ts";
import {
  type AssignmentInit,
  assign,
  failureOf,
  plain,
  setVariable,
  shown,
  type WatchInit,
  Watching,
} from "../support/variable-call.ts";
import { newWorkflow } from "./trees.ts";

const server = useServer();

const set = (workflowId: string, name: string, value: JsonValue, rest?: AssignmentInit) =>
  setVariable(server.acme, workflowId, name, value, rest);
const remove = (workflowId: string, name: string) =>
  server.acme.variables.deleteVariable({ workflowId, name });
const newId = () => newWorkflow(server.acme);
const close = (workflowId: string) =>
  server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
const watch = (workflowId: string, request: WatchInit = {}) =>
  new Watching(server.acme, { workflowId, ...request });
const resumeAfter = (value: bigint) => ({ start: { case: "afterOffset" as const, value } });
const withValues = { includeInitialValues: true };

async function watched(clients: Clients, request: WatchInit) {
  await using watching = new Watching(clients, request);
  return await failureOf(watching.finished);
}

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of stream) found.push(item);
  return found;
}

describe("a watch", () => {
  test("opens with the snapshot's offset, tells the values by name, says that it is complete, then tells every change", async () => {
    const workflowId = await newId();
    await set(workflowId, "b", "x");
    const a = await set(workflowId, "a", 1, {
      type: VariableType.INTEGER,
      metadata: { unit: "s" },
      constraints: { min: 0 },
    });
    await using watching = watch(workflowId, withValues);
    await watching.until(() => expect(watching.cases).toEqual(["opened", "updates", "snapshotComplete"]));
    expect(watching.message("opened")).toMatchObject({ startOffset: 3n, tailOffset: 3n });
    expect(watching.message("snapshotComplete")).toMatchObject({ offset: 3n });
    expect(watching.shown).toEqual(["initial a=1 v1", 'initial b="x" v1']);
    expect(watching.updates[0]).toMatchObject({
      variable: a,
      source: "test",
      metadata: { unit: "s" },
      offset: 3n,
      timestampMs: a.updatedMs,
      replaced: 0,
    });
    expect(watching.updates[0]?.oldValue).toBeUndefined();

    const changed = await set(workflowId, "a", 2, { metadata: { more: "m" } });
    await server.acme.variables.deleteVariable({ workflowId, name: "b", source: "cleaner" });
    await set(workflowId, "c", null);
    await set(workflowId, "c", 3);
    await watching.until(() => expect(watching.updates).toHaveLength(6));
    expect(watching.shown.slice(2)).toEqual([
      "set a=2 v2",
      'deleted b="x" v1',
      "set c=null v1",
      "set c=3 v2",
    ]);
    const [, , first, deleted, made, again] = watching.updates;
    expect(first).toMatchObject({
      variable: changed,
      source: "test",
      metadata: { unit: "s", more: "m" },
      offset: 4n,
      timestampMs: changed.updatedMs,
    });
    expect([first, deleted, made, again].map((update) => plain(update?.oldValue))).toEqual([
      1,
      "x",
      undefined,
      null,
    ]);
    expect(deleted).toMatchObject({
      source: "cleaner",
      offset: 5n,
      variable: { name: "b", createdMs: expect.anything() },
    });
  });

  test("without initial values tells changes alone; a message holds what came together", async () => {
    const workflowId = await newId();
    await set(workflowId, "a", 1);
    await using watching = await watch(workflowId).open();
    await server.acme.variables.setVariables({
      workflowId,
      assignments: Array.from({ length: 500 }, (_, i) => assign(`n${i}`, i)),
    });
    await watching.until(() => expect(watching.updates).toHaveLength(500));
    expect(watching.cases).toEqual(["opened", "updates"]);
    expect(watching.updates.map(({ variable }) => plain(variable?.value))).toEqual(
      Array.from({ length: 500 }, (_, i) => i),
    );
  });

  test("of a workflow sees its own variables, not its children's", async () => {
    const root = await newId();
    const child = await newWorkflow(server.acme, root);
    await using above = await watch(root, withValues).open();
    await using below = await watch(child, withValues).open();
    await set(child, "a", "child");
    await set(root, "a", "root");
    await below.until(() => expect(below.shown).toEqual(['set a="child" v1']));
    await above.until(() => expect(above.shown).toEqual(['set a="root" v1']));
  });

  test("says Ended when the workflow closes, after everything before, and at once when it is closed", async () => {
    const workflowId = await newId();
    await using watching = await watch(workflowId).open();
    await set(workflowId, "a", 1);
    await close(workflowId);
    await watching.finished;
    expect(watching.cases).toEqual(["opened", "updates", "ended"]);
    expect(watching.message("ended")).toMatchObject({ status: WorkflowStatus.COMPLETED, finalOffset: 3n });
    await using late = watch(workflowId, withValues);
    await late.finished;
    expect(late.cases).toEqual(["opened", "updates", "snapshotComplete", "ended"]);
    expect(late.shown).toEqual(["initial a=1 v1"]);
  });

  test("says the same in JSON as in protobuf", async () => {
    const workflowId = await newId();
    await set(workflowId, "a", { b: [1, 0.5, null] }, { metadata: { m: "v" } });
    await set(workflowId, "n", 1, { type: VariableType.FLOAT, constraints: { min: -1.5, max: 2 } });
    await set(workflowId, "a", "x");
    await remove(workflowId, "n");
    await close(workflowId);
    const clientOf = (useBinaryFormat: boolean) =>
      createClient(
        VariableService,
        createConnectTransport({
          baseUrl: server.url,
          httpVersion: "1.1",
          useBinaryFormat,
          interceptors: [
            (next) => (request) => {
              request.header.set("authorization", `Bearer ${server.acme.key}`);
              return next(request);
            },
          ],
        }),
      );
    for (const options of [resumeAfter(0n), {}]) {
      const [json, binary] = await Promise.all(
        [false, true].map((isBinary) =>
          all(clientOf(isBinary).watchVariables({ workflowId, includeInitialValues: true, options })),
        ),
      );
      expect(json).toEqual(binary);
      expect(json?.at(-1)?.message.case).toBe("ended");
    }
  });
});

describe("names", () => {
  test("choose what is told, initial values and changes", async () => {
    const workflowId = await newId();
    for (const name of ["a", "b", "c"]) await set(workflowId, name, 1);
    await using watching = watch(workflowId, { ...withValues, names: ["c", "a", "c"] });
    await watching.until(() => expect(watching.cases).toContain("snapshotComplete"));
    for (const name of ["b", "c", "a"]) await set(workflowId, name, 2);
    await watching.until(() => expect(watching.updates).toHaveLength(4));
    expect(watching.shown).toEqual(["initial a=1 v1", "initial c=1 v1", "set c=2 v2", "set a=2 v2"]);
  });

  test("that do not exist are NOT_FOUND and listed, unless they may be missing", async () => {
    const workflowId = await newId();
    await set(workflowId, "a", 1);
    await set(workflowId, "gone", 1);
    await remove(workflowId, "gone");
    const error = await watched(server.acme, { workflowId, names: ["x", "a", "gone"] });
    expect([error.code, error.findDetails(MissingVariablesSchema)]).toMatchObject([
      Code.NotFound,
      [{ names: ["x", "gone"] }],
    ]);
    expect(error.rawMessage).toMatch(/^names: .+ has no variable "x", "gone"; .+ allow_missing$/);
    await using waiting = watch(workflowId, { ...withValues, names: ["x", "a"], allowMissing: true });
    await waiting.until(() => expect(waiting.cases).toContain("snapshotComplete"));
    await set(workflowId, "x", 2);
    await waiting.until(() => expect(waiting.shown).toEqual(["initial a=1 v1", "set x=2 v1"]));
  });

  test("many missing ones are named as far as an error can carry them", async () => {
    const names = Array.from({ length: 1000 }, (_, i) => `${i}`.padStart(100, "0"));
    const error = await watched(server.acme, { workflowId: await newId(), names });
    expect(error.findDetails(MissingVariablesSchema)[0]?.names).toEqual(names.slice(0, 40));
    expect(error.rawMessage).toContain("and 995 more");
  });

  test("changes of others move the position without a message, and do not keep an idle watch open", async () => {
    const workflowId = await newId();
    await using watching = await watch(workflowId, {
      names: ["mine"],
      allowMissing: true,
      options: { heartbeatIntervalMs: 1000, idleTimeoutMs: 2500 },
    }).open();
    let last = 0n;
    const timer = setInterval(() => {
      set(workflowId, "other", 1).then(
        ({ offset }) => {
          last = offset;
        },
        () => {},
      );
    }, 100);
    await watching.finished.finally(() => clearInterval(timer));
    expect(watching.message("closing")?.reason).toBe(ClosingReason.IDLE_TIMEOUT);
    expect(watching.updates).toEqual([]);
    const beats = watching.messages.flatMap((message) =>
      message.case === "heartbeat" ? [message.value.offset] : [],
    );
    expect(beats.length).toBeGreaterThanOrEqual(2);
    expect(beats[0]).toBeGreaterThan(1n);
    expect(beats[1]).toBeGreaterThan(beats[0] as bigint);
    expect(last).toBeGreaterThan(beats[1] as bigint);
  });
});

describe("resuming", () => {
  test("after an offset tells what was missed, no initial values, and checks no names", async () => {
    const workflowId = await newId();
    const { offset } = await set(workflowId, "a", 1);
    await set(workflowId, "a", 2);
    await remove(workflowId, "a");
    await using watching = watch(workflowId, {
      ...withValues,
      names: ["a", "none"],
      options: resumeAfter(offset),
    });
    await watching.until(() => expect(watching.shown).toEqual(["set a=2 v2", "deleted a=2 v2"]));
    expect(watching.cases).not.toContain("snapshotComplete");
    await using whole = watch(workflowId, { options: resumeAfter(0n) });
    await whole.until(() => expect(whole.shown).toEqual(["set a=1 v1", "set a=2 v2", "deleted a=2 v2"]));
  });

  test("beyond the tail is OUT_OF_RANGE, another epoch ABORTED", async () => {
    const workflowId = await newId();
    expect((await watched(server.acme, { workflowId, options: resumeAfter(99n) })).code).toBe(
      Code.OutOfRange,
    );
    expect((await watched(server.acme, { workflowId, options: { expectedEpoch: 1n } })).code).toBe(
      Code.Aborted,
    );
  });

  test("across a gap tells the loss, then the values as they are, then what is after them", async () => {
    const workflowId = await newId();
    for (let i = 1; i <= 5; i++) await set(workflowId, "a", i);
    await set(workflowId, "b", 1);
    const { rows } = await server.pool.query("select stream_id from workflow where workflow_id = $1", [
      workflowId,
    ]);
    const stream = rows[0].stream_id;
    // As retention does it: the floor first.
    await server.pool.query("insert into stream_floor values ($1, 4)", [stream]);
    await server.pool.query(`delete from event where stream_id = $1 and "offset" <= 4`, [stream]);
    await using watching = watch(workflowId, { options: resumeAfter(2n) });
    await watching.until(() => expect(watching.cases).toContain("snapshotComplete"));
    await set(workflowId, "a", 6);
    await watching.until(() => expect(watching.updates).toHaveLength(3));
    expect(watching.cases).toEqual(["opened", "gap", "updates", "snapshotComplete", "updates"]);
    expect(watching.message("gap")).toMatchObject({ fromOffset: 3n, toOffset: 4n });
    expect(watching.message("snapshotComplete")).toMatchObject({ offset: 7n });
    expect(watching.shown).toEqual(["initial a=5 v5", "initial b=1 v1", "set a=6 v6"]);
  });
});

describe("the options", () => {
  test("with a least interval updates come together, conflated to the newest of each name that counts the others", async () => {
    const workflowId = await newId();
    await set(workflowId, "a", 0);
    const conflateTypes = [EventType.VARIABLE_SET, EventType.VARIABLE_DELETED];
    await using watching = await watch(workflowId, { options: { minIntervalMs: 700, conflateTypes } }).open();
    await using complete = await watch(workflowId, { options: { minIntervalMs: 700 } }).open();
    const began = Date.now();
    await set(workflowId, "start", 0);
    await watching.until(() => expect(watching.updates).toHaveLength(1));
    await complete.until(() => expect(complete.updates).toHaveLength(1));
    for (let i = 1; i <= 10; i++) await set(workflowId, "a", i);
    await set(workflowId, "b", 1);
    await remove(workflowId, "b");
    await set(workflowId, "b", 2);
    await complete.until(() => expect(complete.updates).toHaveLength(14));
    expect(complete.updates.map(({ replaced }) => replaced)).toEqual(Array(14).fill(0));
    expect(complete.batches.length).toBeLessThan(5);
    await watching.until(() => expect(watching.shown.at(-1)).toBe("set b=2 v2"));
    // On a slow machine the updates may take longer than one interval; in each they are the newest, and the old values theirs.
    expect(watching.batches.length).toBeLessThanOrEqual(2 + Math.floor((Date.now() - began) / 700));
    const of = (name: string) => watching.updates.filter(({ variable }) => variable?.name === name);
    const told = (name: string) => of(name).reduce((sum, { replaced }) => sum + replaced + 1, 0);
    expect([told("start"), told("a"), told("b")]).toEqual([1, 10, 3]);
    expect(of("a").map(shown).at(-1)).toBe("set a=10 v11");
    for (const { variable, oldValue } of of("a"))
      expect(plain(oldValue)).toBe(Number(plain(variable?.value)) - 1);
    for (const batch of watching.batches) {
      expect(new Set(batch.map(({ variable }) => variable?.name)).size).toBe(batch.length);
    }
  });

  test("that are not allowed are INVALID_ARGUMENT and named", async () => {
    const workflowId = await newId();
    for (const [options, field] of [
      [{ minIntervalMs: 60_000 }, "min_interval_ms"],
      [{ heartbeatIntervalMs: 10 }, "heartbeat_interval_ms"],
      [{ conflateTypes: [EventType.TOKEN] }, "conflate_types"],
    ] as const) {
      const error = await watched(server.acme, {
        workflowId,
        options: {
          ...options,
          conflateTypes: [...("conflateTypes" in options ? options.conflateTypes : [])],
        },
      });
      expect([error.code, error.rawMessage]).toEqual([Code.InvalidArgument, expect.stringContaining(field)]);
    }
    expect((await watched(server.acme, { workflowId, names: [""] })).code).toBe(Code.InvalidArgument);
  });
});

describe("large snapshots", () => {
  test("come in messages of at most 1,000 values and 1 MiB, none missing, by name", async () => {
    const workflowId = await newId();
    const name = (i: number) => `n${String(i).padStart(5, "0")}`;
    for (let at = 0; at < 2500; at += 500) {
      const assignments = Array.from({ length: 500 }, (_, i) => assign(name(at + i), at + i));
      await server.acme.variables.setVariables({ workflowId, assignments });
    }
    for (let i = 0; i < 6; i++) await set(workflowId, `text ${i}`, "x".repeat(250_000));
    // 120 KB of JSON, 660 KB of protobuf.
    for (let i = 0; i < 4; i++)
      await set(
        workflowId,
        `numbers ${i}`,
        Array.from({ length: 60_000 }, () => 1),
      );
    await using watching = watch(workflowId, withValues);
    await watching.until(() => expect(watching.cases).toContain("snapshotComplete"));
    const names = watching.updates.map(({ variable }) => variable?.name);
    expect(names).toHaveLength(2510);
    expect(names).toEqual(names.toSorted());
    const bytes = (i: number) =>
      (watching.batches[i] ?? []).reduce((sum, { variable }) => sum + sizeOf(plain(variable?.value)), 0);
    for (const i of watching.batches.keys()) expect(bytes(i)).toBeLessThan(limits.batchBytes);
    // Updates of two large values each stand alone.
    await set(
      workflowId,
      "numbers 0",
      Array.from({ length: 60_000 }, () => 2),
    );
    await set(
      workflowId,
      "numbers 1",
      Array.from({ length: 60_000 }, () => 2),
    );
    await watching.until(() => expect(watching.updates).toHaveLength(2512));
    expect(watching.batches.slice(-2).map((batch) => batch.length)).toEqual([1, 1]);
  });

  /** In protobuf. */
  const sizeOf = (value: JsonValue | undefined): number =>
    Array.isArray(value) ? 11 * value.length : JSON.stringify(value).length;
});

describe("who may", () => {
  test("another tenant may not, and an unknown workflow is NOT_FOUND", async () => {
    const workflowId = await newId();
    expect((await watched(server.globex, { workflowId })).code).toBe(Code.PermissionDenied);
    expect((await watched(server.acme, { workflowId: crypto.randomUUID() })).code).toBe(Code.NotFound);
  });

  test("stream tokens may if they were made for variables", async () => {
    const [workflowId, other] = [await newId(), await newId()];
    await set(workflowId, "a", 1);
    const tokenFor = async (includeVariables: boolean) => {
      const { token } = await server.acme.tokens.createStreamToken({
        workflowIds: [workflowId],
        includeVariables,
      });
      return server.clients(token);
    };
    const seeing = await tokenFor(true);
    await using watching = new Watching(seeing, { workflowId, ...withValues });
    await watching.until(() => expect(watching.shown).toEqual(["initial a=1 v1"]));
    expect((await watched(seeing, { workflowId: other })).code).toBe(Code.PermissionDenied);
    const error = await watched(await tokenFor(false), { workflowId });
    expect([error.code, error.rawMessage]).toEqual([
      Code.PermissionDenied,
      expect.stringContaining("include_variables"),
    ]);
  });
});

test("a server that stops says Closing, and the watch resumes at the next one without gap or repetition", async () => {
  const workflowId = await newId();
  await set(workflowId, "a", 1);
  await using before = watch(workflowId, withValues);
  await before.until(() => expect(before.cases).toContain("snapshotComplete"));
  const { offset } = await set(workflowId, "a", 2);
  await before.until(() => expect(before.updates).toHaveLength(2));
  await server.restart();
  await before.finished;
  expect(before.message("closing")?.reason).toBe(ClosingReason.DRAINING);
  await set(workflowId, "a", 3);
  await using again = watch(workflowId, { options: resumeAfter(offset) });
  await again.until(() => expect(again.shown).toEqual(["set a=3 v3"]));
  expect(again.updates[0]?.updateType).toBe(VariableUpdateType.VALUE_CHANGE);
});
