/** WatchVariables, from the words of variable_service.proto and event.proto alone. */
import { createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ClosingReason, EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import {
  MissingVariablesSchema,
  VariableService,
  VariableUpdateType,
} from "../../gen/tributary/v1/variable_service_pb.ts";
import { transportsOf } from "../api/transports.ts";
import { newFamily, newWorkflow, publish, repeat, token } from "../api/trees.ts";
import { type Clients, useServer } from "../support/server.ts";
import { assign, plain, setVariable, type WatchInit, Watching } from "../support/variable-call.ts";
import { refused } from "./world.ts";

const server = useServer();
const { INITIAL_VALUE, VALUE_CHANGE, DELETED } = VariableUpdateType;

const set = (workflowId: string, name: string, value: number | string | null, rest = {}) =>
  setVariable(server.acme, workflowId, name, value, rest);
const remove = (workflowId: string, name: string) =>
  server.acme.variables.deleteVariable({ workflowId, name, source: "remover" });
const close = (workflowId: string, closeDescendants = false) =>
  server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED, closeDescendants });
const watching = (request: WatchInit, clients: Clients = server.acme) => new Watching(clients, request);
const startAfter = (offset: bigint | number) =>
  ({ start: { case: "afterOffset", value: BigInt(offset) } }) as const;

async function ended(watch: Watching): Promise<Watching> {
  await watch.until(() => expect(["ended", "closing"]).toContain(watch.cases.at(-1)), 8000);
  await watch.finished;
  return watch;
}

describe("the beginning", () => {
  test("Opened, the initial values, snapshot_complete, at one offset; then changes", async () => {
    const workflowId = await newWorkflow(server.acme);
    await set(workflowId, "b", 1, { metadata: { k: "v" } });
    await set(workflowId, "a", null);
    await set(workflowId, "gone", 1);
    await remove(workflowId, "gone");
    await using watch = watching({ workflowId, includeInitialValues: true });
    await watch.until(() => expect(watch.cases.at(-1)).toBe("snapshotComplete"));
    expect(watch.message("opened")).toMatchObject({ startOffset: 5n, tailOffset: 5n, floorOffset: 0n });
    expect(watch.message("snapshotComplete")?.offset).toBe(5n);
    expect(watch.shown.toSorted()).toEqual(["initial a=null v1", "initial b=1 v1"]);
    for (const update of watch.updates) {
      expect([update.offset, update.oldValue, update.replaced]).toEqual([5n, undefined, 0]);
      expect(update.variable?.workflowId).toBe(workflowId);
    }
    expect(watch.updates.find(({ variable }) => variable?.name === "b")).toMatchObject({
      metadata: { k: "v" },
      source: "test",
      variable: { offset: 2n, metadata: { k: "v" }, source: "test" },
    });
    await set(workflowId, "c", 1);
    await watch.until(() => expect(watch.shown.at(-1)).toBe("set c=1 v1"));
  });

  test("a workflow without variables has an empty snapshot, which is completed", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using watch = watching({ workflowId, includeInitialValues: true });
    await watch.until(() => expect(watch.cases).toEqual(["opened", "snapshotComplete"]));
  });

  test("without include_initial_values none is sent, and what is later still is", async () => {
    const workflowId = await newWorkflow(server.acme);
    await set(workflowId, "a", 1);
    await using watch = watching({ workflowId });
    await watch.open();
    await set(workflowId, "a", 2);
    await watch.until(() => expect(watch.shown).toEqual(["set a=2 v2"]));
    expect(plain(watch.updates[0]?.oldValue)).toBe(1);
  });

  test("latest means the same as no start", async () => {
    const workflowId = await newWorkflow(server.acme);
    await set(workflowId, "a", 1);
    await using watch = watching({
      workflowId,
      includeInitialValues: true,
      options: { start: { case: "latest", value: true } },
    });
    await watch.until(() => expect(watch.shown).toEqual(["initial a=1 v1"]));
    expect(watch.message("opened")?.startOffset).toBe(2n);
  });

  test("with after_offset no initial values are sent, names are not checked, missed changes follow", async () => {
    const workflowId = await newWorkflow(server.acme);
    await set(workflowId, "a", 1);
    await set(workflowId, "a", 2);
    await set(workflowId, "b", 3);
    await remove(workflowId, "a");
    await using watch = watching({
      workflowId,
      names: ["a", "never"],
      includeInitialValues: true,
      options: startAfter(2),
    });
    await watch.until(() =>
      expect(watch.shown).toEqual(["set a=2 v2", expect.stringMatching(/^deleted a=2/)]),
    );
    expect(watch.updates.map(({ offset }) => offset)).toEqual([3n, 5n]);
    expect(watch.message("opened")?.startOffset).toBe(2n);
    expect(watch.updates.every(({ updateType }) => updateType !== INITIAL_VALUE)).toBe(true);
  });

  test("after_offset 0 is the beginning: every change there was, with old values", async () => {
    const workflowId = await newWorkflow(server.acme);
    await set(workflowId, "a", null);
    await set(workflowId, "a", 2);
    await remove(workflowId, "a");
    await set(workflowId, "a", 3);
    await close(workflowId);
    await using watch = await ended(watching({ workflowId, options: startAfter(0) }));
    expect(watch.updates.map(({ updateType }) => updateType)).toEqual([
      VALUE_CHANGE,
      VALUE_CHANGE,
      DELETED,
      VALUE_CHANGE,
    ]);
    expect(watch.updates.map(({ oldValue }) => plain(oldValue))).toEqual([undefined, null, 2, undefined]);
  });

  test("at the tail nothing is missed; beyond it is OUT_OF_RANGE", async () => {
    const workflowId = await newWorkflow(server.acme);
    await set(workflowId, "a", 1);
    await using watch = watching({ workflowId, options: startAfter(2) });
    await watch.open();
    await set(workflowId, "a", 2);
    await watch.until(() => expect(watch.shown).toEqual(["set a=2 v2"]));
    for (const offset of [4n, 9007199254740991n])
      await refused(
        server.acme.variables.watchVariables({ workflowId, options: startAfter(offset) }),
        "OutOfRange",
        `${offset}`,
      );
    await refused(
      server.acme.variables.watchVariables({ workflowId, options: startAfter(9007199254740992n) }),
      "InvalidArgument",
      "options.after_offset",
    );
  });

  test("another epoch is ABORTED, the stream's own is taken", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using first = watching({ workflowId });
    await first.open();
    const epoch = first.message("opened")?.epoch ?? 0n;
    await refused(
      server.acme.variables.watchVariables({ workflowId, options: { expectedEpoch: epoch + 1n } }),
      "Aborted",
    );
    await using second = watching({ workflowId, options: { expectedEpoch: epoch } });
    await second.open();
  });

  test("every protocol and HTTP version sends the same", async () => {
    const workflowId = await newWorkflow(server.acme);
    await set(workflowId, "a", "漢 😀", { metadata: { k: "é" } });
    await set(workflowId, "b", null);
    await close(workflowId);
    const told = new Map<string, unknown>();
    for (const [protocol, transport] of transportsOf(server.url, server.acme.key)) {
      const clients = { ...server.acme, variables: createClient(VariableService, transport) };
      await using snapshot = await ended(watching({ workflowId, includeInitialValues: true }, clients));
      await using changes = await ended(watching({ workflowId, options: startAfter(0) }, clients));
      told.set(protocol, [snapshot.messages, changes.messages]);
    }
    const [first, ...others] = told.values();
    for (const other of others) expect(other).toEqual(first);
    expect(told.size).toBe(8);
  });
});

describe("names", () => {
  test("only these; others say nothing", async () => {
    const workflowId = await newWorkflow(server.acme);
    for (const name of ["a", "b", "c"]) await set(workflowId, name, 1);
    await using watch = watching({ workflowId, names: ["c", "a", "a"], includeInitialValues: true });
    await watch.until(() => expect(watch.cases).toContain("snapshotComplete"));
    expect(watch.shown.toSorted()).toEqual(["initial a=1 v1", "initial c=1 v1"]);
    await set(workflowId, "b", 2);
    await set(workflowId, "B", 2);
    await set(workflowId, "c", 2);
    await watch.until(() => expect(watch.shown.slice(2)).toEqual(["set c=2 v2"]));
  });

  test("unknown ones are NOT_FOUND, and the details list them all", async () => {
    const workflowId = await newWorkflow(server.acme);
    await set(workflowId, "a", 1);
    await set(workflowId, "deleted", 1);
    await remove(workflowId, "deleted");
    for (const includeInitialValues of [true, false]) {
      const names = ["x", "a", "deleted", "😀"];
      const call = server.acme.variables.watchVariables({ workflowId, names, includeInitialValues });
      const error = await refused(call, "NotFound");
      const [missing] = error.findDetails(MissingVariablesSchema);
      expect(missing?.names.toSorted()).toEqual(["deleted", "x", "😀"].toSorted());
    }
  });

  test("with allow_missing it waits for them", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using watch = watching({
      workflowId,
      names: ["x"],
      allowMissing: true,
      includeInitialValues: true,
    });
    await watch.until(() => expect(watch.cases).toEqual(["opened", "snapshotComplete"]));
    await set(workflowId, "y", 1);
    await set(workflowId, "x", 1);
    await watch.until(() => expect(watch.shown).toEqual(["set x=1 v1"]));
  });

  test("a name of 256 characters or none is INVALID_ARGUMENT at names[1]", async () => {
    const workflowId = await newWorkflow(server.acme);
    for (const name of ["", "n".repeat(256)])
      await refused(
        server.acme.variables.watchVariables({ workflowId, names: ["a", name] }),
        "InvalidArgument",
        "names[1]",
      );
    await using watch = watching({ workflowId, names: ["😀".repeat(255)], allowMissing: true });
    await watch.open();
  });

  test("a thousand names", async () => {
    const workflowId = await newWorkflow(server.acme);
    const names = repeat(1000, (i) => `v${i}`);
    await server.acme.variables.setVariables({
      workflowId,
      assignments: names.map((name) => assign(name, 1)),
    });
    await using watch = watching({ workflowId, names, includeInitialValues: true });
    await watch.until(() => expect(watch.cases).toContain("snapshotComplete"));
    expect(watch.updates.map(({ variable }) => variable?.name).toSorted()).toEqual(names.toSorted());
  });
});

describe("updates", () => {
  test("tell type, state, old value, source, metadata, offset and time", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using watch = watching({ workflowId });
    await watch.open();
    const first = await set(workflowId, "a", 1, { metadata: { k: "v" } });
    const second = await set(workflowId, "a", null);
    const third = await set(workflowId, "a", 3);
    const { offset } = await remove(workflowId, "a");
    await set(workflowId, "a", 4);
    await watch.until(() => expect(watch.updates).toHaveLength(5));
    const [one, two, three, four, five] = watch.updates;
    expect([one?.variable, two?.variable, three?.variable]).toEqual([first, second, third]);
    expect(one).toMatchObject({ updateType: VALUE_CHANGE, source: "test", metadata: { k: "v" }, offset: 2n });
    expect(one?.oldValue).toBeUndefined();
    expect(one?.timestampMs).toBe(first.updatedMs);
    expect(plain(two?.oldValue)).toBe(1);
    expect(three?.oldValue?.kind.case).toBe("nullValue");
    expect(four).toMatchObject({ updateType: DELETED, source: "remover", offset });
    expect(plain(four?.variable?.value)).toBe(3);
    expect(plain(four?.oldValue)).toBe(3);
    expect(five?.oldValue).toBeUndefined();
  });

  // "After the change (of a deleted one: the last state)".
  test("of a deleted one the variable is the last state as it was got before", async () => {
    const workflowId = await newWorkflow(server.acme);
    const last = await set(workflowId, "a", 1, { metadata: { k: "v" } });
    await using watch = watching({ workflowId });
    await watch.open();
    await remove(workflowId, "a");
    await watch.until(() => expect(watch.updates).toHaveLength(1));
    const { variable } = watch.updates[0] ?? {};
    expect(plain(variable?.value)).toEqual(plain(last.value));
    expect(variable?.metadata).toEqual(last.metadata);
    expect(variable?.createdMs).toBe(last.createdMs);
    expect(variable?.type).toBe(last.type);
  });

  test("of a deleted one the version is that of the last state; source, offset and time are the deletion's", async () => {
    const workflowId = await newWorkflow(server.acme);
    const last = await set(workflowId, "a", 1);
    await using watch = watching({ workflowId });
    await watch.open();
    await remove(workflowId, "a");
    await watch.until(() => expect(watch.updates).toHaveLength(1));
    const { variable, offset } = watch.updates[0] ?? {};
    expect(variable?.version).toBe(last.version);
    expect(variable?.offset).toBe(offset);
  });

  test("a set to the same value is a change as well", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using watch = watching({ workflowId });
    await watch.open();
    await set(workflowId, "a", 1);
    await set(workflowId, "a", 1);
    await watch.until(() => expect(watch.shown).toEqual(["set a=1 v1", "set a=1 v2"]));
  });

  test("only of this workflow: not of its parent, child or sibling", async () => {
    const { root, child, grandchild, sibling } = await newFamily(server.acme);
    for (const id of [root, child, grandchild, sibling]) await set(id, "a", "before");
    await using watch = watching({ workflowId: child, includeInitialValues: true });
    await watch.open();
    for (const id of [root, grandchild, sibling, child]) await set(id, "a", "after");
    await watch.until(() => expect(watch.shown).toEqual(['initial a="before" v1', 'set a="after" v2']));
  });

  test("types and task_execution_ids are not used", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using watch = watching({
      workflowId,
      options: { types: [EventType.TOKEN], taskExecutionIds: ["t"] },
    });
    await watch.open();
    await publish(server.acme, [token(workflowId, "x")]);
    await set(workflowId, "a", 1);
    await watch.until(() => expect(watch.shown).toEqual(["set a=1 v1"]));
  });

  test("a set of many comes whole and in order", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using watch = watching({ workflowId });
    await watch.open();
    const names = repeat(1000, (i) => `v${(i * 7) % 1000}`);
    await server.acme.variables.setVariables({
      workflowId,
      assignments: names.map((name) => assign(name, 1)),
    });
    await watch.until(() => expect(watch.updates.map(({ variable }) => variable?.name)).toEqual(names));
  });

  test("large values come in messages below 3 MiB, as snapshot and as changes", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using live = watching({ workflowId });
    await live.open();
    const value = "漢".repeat(87_000);
    for (let i = 0; i < 12; i++) await set(workflowId, `v${i}`, value);
    for (let i = 0; i < 12; i++) await set(workflowId, `v${i}`, `${value}x`);
    await using snapshot = watching({ workflowId, includeInitialValues: true });
    await snapshot.until(() => expect(snapshot.cases).toContain("snapshotComplete"));
    await using history = watching({ workflowId, options: startAfter(0) });
    await history.until(() => expect(history.updates).toHaveLength(24));
    await live.until(() => expect(live.updates).toHaveLength(24));
    expect(snapshot.updates).toHaveLength(12);
    for (const { batches } of [live, snapshot, history])
      for (const batch of batches) {
        const bytes = (update: (typeof batch)[number]) =>
          Buffer.byteLength(JSON.stringify([plain(update.variable?.value), plain(update.oldValue) ?? null]));
        const total = batch.reduce((sum, update) => sum + bytes(update), 0);
        if (batch.length > 1) expect(total).toBeLessThanOrEqual(1024 * 1024 + 4096);
        expect(total).toBeLessThan(3 * 1024 * 1024);
      }
  });
});

describe("none missed, none twice", () => {
  test("writers and watchers at the same time: each watch is the history from its snapshot on", async () => {
    const workflowId = await newWorkflow(server.acme);
    const names = ["a", "b", "c"];
    const writers = names.map(async (name) => {
      for (let i = 0; i < 60; i++) {
        if (i % 10 === 9) await remove(workflowId, name);
        else await set(workflowId, name, i);
      }
    });
    const watches: Watching[] = [];
    for (let i = 0; i < 20; i++) {
      watches.push(watching({ workflowId, includeInitialValues: true }));
      await new Promise((resolve) => setTimeout(resolve, 15));
    }
    await Promise.all(writers);
    await close(workflowId);
    await using history = await ended(watching({ workflowId, options: startAfter(0) }));
    expect(history.updates).toHaveLength(180);
    for (const watch of watches) {
      await ended(watch);
      const start = watch.message("opened")?.startOffset ?? 0n;
      expect(watch.message("snapshotComplete")?.offset).toBe(start);
      const initial = watch.updates.filter(({ updateType }) => updateType === INITIAL_VALUE);
      const changes = watch.updates.slice(initial.length);
      expect(changes).toEqual(history.updates.filter(({ offset }) => offset > start));
      const state = new Map<string, unknown>();
      for (const { offset, updateType, variable } of history.updates) {
        if (offset > start) break;
        if (updateType === DELETED) state.delete(variable?.name ?? "");
        else state.set(variable?.name ?? "", variable);
      }
      expect(new Map(initial.map(({ variable }) => [variable?.name ?? "", variable]))).toEqual(state);
      await watch[Symbol.asyncDispose]();
    }
  });

  test("resumed at any offset, each change comes once", async () => {
    const workflowId = await newWorkflow(server.acme);
    for (let i = 0; i < 10; i++) {
      await set(workflowId, `v${i % 3}`, i);
      await publish(server.acme, [token(workflowId, "x")]);
    }
    await close(workflowId);
    await using history = await ended(watching({ workflowId, options: startAfter(0) }));
    for (let offset = 0; offset <= 22; offset++) {
      await using rest = await ended(watching({ workflowId, options: startAfter(offset) }));
      expect(rest.updates).toEqual(history.updates.filter((update) => update.offset > BigInt(offset)));
    }
  });

  test("a watch that is broken off and resumed again and again misses nothing", async () => {
    const workflowId = await newWorkflow(server.acme);
    const seen: string[] = [];
    const writer = (async () => {
      for (let i = 0; i < 80; i++) await set(workflowId, "a", i);
      await close(workflowId);
    })();
    for (let offset = 0n; ; ) {
      await using watch = watching({ workflowId, options: startAfter(offset) });
      await watch.until(() => expect(watch.updates.length > 5 || watch.cases.includes("ended")).toBe(true));
      const taken = [...watch.updates];
      const isOver = watch.cases.includes("ended");
      for (const update of taken) seen.push(`${plain(update.variable?.value)}`);
      offset = taken.at(-1)?.offset ?? offset;
      if (isOver) break;
    }
    await writer;
    expect(seen).toEqual(repeat(80, (i) => `${i}`));
  });

  test("two hundred watchers of one workflow all see the same", async () => {
    const workflowId = await newWorkflow(server.acme);
    const watches = repeat(200, () => watching({ workflowId }));
    await Promise.all(watches.map((watch) => watch.open()));
    for (let i = 0; i < 10; i++) await set(workflowId, "a", i);
    await close(workflowId);
    for (const watch of watches) {
      await ended(watch);
      expect(watch.shown).toEqual(repeat(10, (i) => `set a=${i} v${i + 1}`));
    }
  });

  test("a reader that does not read slows neither the writers nor others, and gets everything later", async () => {
    const workflowId = await newWorkflow(server.acme);
    const abort = new AbortController();
    const slow = server.acme.variables
      .watchVariables({ workflowId }, { signal: abort.signal })
      [Symbol.asyncIterator]();
    expect((await slow.next()).value?.message.case).toBe("opened");
    await using quick = watching({ workflowId });
    await quick.open();
    const value = "x".repeat(200_000);
    for (let i = 0; i < 60; i++) await set(workflowId, "a", `${i}${value}`);
    await close(workflowId);
    await ended(quick);
    expect(quick.updates).toHaveLength(60);
    const versions: bigint[] = [];
    let last: string | undefined;
    for (;;) {
      const { done, value: answer } = await slow.next();
      if (done) break;
      last = answer.message.case;
      if (answer.message.case === "updates")
        versions.push(...answer.message.value.updates.map(({ variable }) => variable?.version ?? 0n));
    }
    abort.abort();
    expect(versions).toEqual(repeat(60, (i) => BigInt(i + 1)));
    expect(last).toBe("ended");
  });
});

describe("the end", () => {
  test("the workflow is closed: Ended with its status and last offset, then OK, though a child is open", async () => {
    const { root, child } = await newFamily(server.acme);
    await using watch = watching({ workflowId: root });
    await using inner = watching({ workflowId: child });
    await watch.open();
    await inner.open();
    await set(root, "a", 1);
    const { offset } = await server.acme.workflows.closeWorkflow({
      workflowId: root,
      status: WorkflowStatus.FAILED,
    });
    await ended(watch);
    expect(watch.cases).toEqual(["opened", "updates", "ended"]);
    expect(watch.message("ended")).toMatchObject({ status: WorkflowStatus.FAILED, finalOffset: offset });
    await set(child, "a", 1);
    await inner.until(() => expect(inner.shown).toEqual(["set a=1 v1"]));
    await close(child);
    await ended(inner);
  });

  test("of a closed workflow: the initial values, then Ended", async () => {
    const workflowId = await newWorkflow(server.acme);
    await set(workflowId, "a", 1);
    await close(workflowId);
    await using watch = await ended(watching({ workflowId, includeInitialValues: true }));
    expect(watch.cases).toEqual(["opened", "updates", "snapshotComplete", "ended"]);
    await using late = await ended(watching({ workflowId, options: startAfter(3) }));
    expect(late.cases).toEqual(["opened", "ended"]);
  });

  test("the tree is deleted under a watch: it had ended before, and a new one is NOT_FOUND", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using watch = watching({ workflowId, includeInitialValues: true });
    await watch.open();
    await set(workflowId, "a", 1);
    await watch.until(() => expect(watch.shown).toEqual(["set a=1 v1"]));
    await close(workflowId);
    await server.acme.workflows.deleteWorkflowTree({ workflowId });
    await ended(watch);
    expect(watch.message("ended")?.finalOffset).toBe(3n);
    expect(watch.shown).toEqual(["set a=1 v1"]);
  });

  test("silent for idle_timeout_ms: Closing; updates put it off, heartbeats do not", async () => {
    const workflowId = await newWorkflow(server.acme);
    const begun = Date.now();
    await using watch = watching({ workflowId, options: { idleTimeoutMs: 1600, heartbeatIntervalMs: 1000 } });
    await watch.open();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await set(workflowId, "a", 1);
    await ended(watch);
    expect(watch.message("closing")?.reason).toBe(ClosingReason.IDLE_TIMEOUT);
    expect(Date.now() - begun).toBeGreaterThanOrEqual(2500);
    expect(watch.cases).toContain("heartbeat");
  });

  test("heartbeats move the position past what is not watched", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using watch = watching({
      workflowId,
      names: ["a"],
      allowMissing: true,
      options: { heartbeatIntervalMs: 1000 },
    });
    await watch.open();
    await publish(server.acme, [token(workflowId, "x"), token(workflowId, "y")]);
    await set(workflowId, "b", 1);
    await watch.until(() => {
      const beat = watch.messages.findLast(({ case: kind }) => kind === "heartbeat");
      expect(beat?.case === "heartbeat" && beat.value.offset).toBe(4n);
    });
  });
});

describe("options", () => {
  test.each([
    [{ minIntervalMs: 60_001, heartbeatIntervalMs: 300_000 }, "min_interval_ms"],
    [{ heartbeatIntervalMs: 999 }, "heartbeat_interval_ms"],
    [{ heartbeatIntervalMs: 300_001 }, "heartbeat_interval_ms"],
    [{ conflateTypes: [EventType.TOKEN] }, "conflate_types"],
    [{ conflateTypes: [99 as EventType] }, "conflate_types"],
  ])("%j is INVALID_ARGUMENT at options.%s", async (options, field) => {
    const workflowId = await newWorkflow(server.acme);
    await refused(
      server.acme.variables.watchVariables({ workflowId, options }),
      "InvalidArgument",
      `options.${field}`,
    );
  });

  const notBelow = [
    { minIntervalMs: 15_000 },
    { minIntervalMs: 1000, heartbeatIntervalMs: 1000 },
    { minIntervalMs: 500, idleTimeoutMs: 500 },
  ];
  test.each(notBelow)("%j is not below what it must be: INVALID_ARGUMENT, named", async (options) => {
    const workflowId = await newWorkflow(server.acme);
    await refused(
      server.acme.variables.watchVariables({ workflowId, options }),
      "InvalidArgument",
      "min_interval_ms",
    );
  });

  test.each(notBelow)("%j is refused at options.min_interval_ms", async (options) => {
    const workflowId = await newWorkflow(server.acme);
    await refused(
      server.acme.variables.watchVariables({ workflowId, options }),
      "InvalidArgument",
      "options.min_interval_ms",
    );
  });

  test.each([
    { minIntervalMs: 14_999 },
    { minIntervalMs: 60_000, heartbeatIntervalMs: 60_001 },
    { minIntervalMs: 999, heartbeatIntervalMs: 1000, idleTimeoutMs: 1000 },
    { heartbeatIntervalMs: 300_000 },
    { idleTimeoutMs: 4_294_967_295 },
  ])("%j is taken", async (options) => {
    const workflowId = await newWorkflow(server.acme);
    await using watch = watching({ workflowId, options });
    await watch.open();
    expect(watch.cases).toEqual(["opened"]);
  });

  test("conflated: per name the newest, `replaced` counts the rest, old_value is of just before", async () => {
    const workflowId = await newWorkflow(server.acme);
    await set(workflowId, "a", 0);
    await using watch = watching({
      workflowId,
      options: { minIntervalMs: 900, conflateTypes: [EventType.VARIABLE_SET, EventType.VARIABLE_DELETED] },
    });
    await watch.open();
    await set(workflowId, "first", 0);
    await watch.until(() => expect(watch.updates).toHaveLength(1));
    for (let i = 1; i <= 5; i++) {
      await set(workflowId, "a", i);
      await set(workflowId, "b", i);
    }
    await remove(workflowId, "b");
    await close(workflowId);
    await ended(watch);
    const changes = watch.updates.slice(1);
    const count = (name: string) =>
      changes
        .filter(({ variable }) => variable?.name === name)
        .reduce((sum, { replaced }) => sum + 1 + replaced, 0);
    expect([count("a"), count("b")]).toEqual([5, 6]);
    const [a] = changes.filter(({ variable }) => variable?.name === "a").slice(-1);
    expect([plain(a?.variable?.value), plain(a?.oldValue)]).toEqual([5, 4]);
    const [b] = changes.filter(({ variable }) => variable?.name === "b").slice(-1);
    expect(b?.updateType).toBe(DELETED);
    expect(changes.length).toBeLessThan(11);
  });

  test("conflate VARIABLE_SET alone: a deletion is never replaced, nor a set before it by one after", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using watch = watching({
      workflowId,
      options: { ...startAfter(0), conflateTypes: [EventType.VARIABLE_SET] },
    });
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 4; i++) await set(workflowId, "a", i);
      await remove(workflowId, "a");
    }
    await close(workflowId);
    await ended(watch);
    expect(watch.updates.filter(({ updateType }) => updateType === DELETED)).toHaveLength(3);
    expect(watch.updates.reduce((sum, { replaced }) => sum + 1 + replaced, 0)).toBe(15);
  });

  test("history is conflated in batches as well, and the sum is right", async () => {
    const workflowId = await newWorkflow(server.acme);
    for (let i = 0; i < 30; i++) await set(workflowId, `v${i % 3}`, i);
    await close(workflowId);
    await using watch = await ended(
      watching({ workflowId, options: { ...startAfter(0), conflateTypes: [EventType.VARIABLE_SET] } }),
    );
    expect(watch.updates.map(({ replaced }) => replaced)).toEqual([9, 9, 9]);
    expect(watch.shown).toEqual(["set v0=27 v10", "set v1=28 v10", "set v2=29 v10"]);
    expect(watch.updates.map(({ oldValue }) => plain(oldValue))).toEqual([24, 25, 26]);
  });

  test("min_interval_ms: the first at once, then at most one message per interval, nothing lost, the end at once", async () => {
    const workflowId = await newWorkflow(server.acme);
    const times: [string, number][] = [];
    const abort = new AbortController();
    const reading = (async () => {
      for await (const { message } of server.acme.variables.watchVariables(
        { workflowId, options: { minIntervalMs: 600 } },
        { signal: abort.signal },
      ))
        times.push([message.case ?? "", Date.now()]);
    })();
    await expect.poll(() => times.length).toBe(1);
    const begun = Date.now();
    await set(workflowId, "a", 0);
    await expect.poll(() => times.length).toBe(2);
    expect((times[1]?.[1] ?? 0) - begun).toBeLessThan(550);
    for (let i = 0; i < 25; i++) {
      await set(workflowId, "a", i);
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
    const closed = Date.now();
    await close(workflowId);
    await reading;
    const updates = times.filter(([kind]) => kind === "updates").map(([, time]) => time);
    // The terminal event flushes what is pending; the message before it may be closer than an interval.
    for (let i = 1; i < updates.length - 1; i++)
      expect((updates[i] ?? 0) - (updates[i - 1] ?? 0)).toBeGreaterThan(550);
    expect(times.at(-1)?.[0]).toBe("ended");
    expect((times.at(-1)?.[1] ?? 0) - closed).toBeLessThan(500);
  });
});
