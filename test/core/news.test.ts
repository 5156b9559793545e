/** News between instances, and what heals lost ones. */
import { expect, test } from "vitest";
import { createMemoryBus } from "../../server/bus/memory-bus.ts";
import { DomainError } from "../../server/core/errors.ts";
import { Newsroom } from "../../server/core/news.ts";
import type { SignalBody } from "../../server/core/ports.ts";
import { Registry, type Workflow, type WorkflowStore } from "../../server/core/registry.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";

const access = { tenant: "acme", subtrees: undefined, seesVariables: true };

test("news are heard by the others, each with its fields, and not by who told them", async () => {
  const bus = createMemoryBus();
  const [here, there] = [
    new Newsroom({ bus, instanceId: "here" }),
    new Newsroom({ bus, instanceId: "there" }),
  ];
  const heard: unknown[] = [];
  for (const [name, room] of Object.entries({ here, there })) {
    await room.open();
    room.on("session_taken", (news) => heard.push([name, news]));
  }
  here.tell("session_taken", { sessionId: "s", epoch: 2 });
  here.tell("session_ended", { sessionId: "s" });
  expect(heard).toEqual([["there", { sessionId: "s", epoch: 2 }]]);
  there.close();
  here.tell("session_taken", { sessionId: "s", epoch: 3 });
  expect(heard).toHaveLength(1);
  here.close();
});

test("what another version says is passed over if it is not understood", async () => {
  const bus = createMemoryBus();
  const room = new Newsroom({ bus, instanceId: "here" });
  await room.open();
  const heard: unknown[] = [];
  room.on("session_taken", (news) => heard.push(news));
  const good = { from: "there", kind: "session_taken", news: { sessionId: "s", epoch: 2, more: true } };
  const bad: SignalBody[] = [
    null,
    1,
    "text",
    [],
    { ...good, kind: 5 },
    { ...good, kind: "toString" },
    { ...good, kind: "later_kind" },
    { ...good, news: null },
    { ...good, news: "s" },
    { ...good, news: { sessionId: "s" } },
    { ...good, news: { sessionId: "s", epoch: "2" } },
  ];
  for (const body of [...bad, good]) bus.signal("news", body);
  expect(heard).toEqual([{ sessionId: "s", epoch: 2, more: true }]);
  room.close();
});

class World {
  readonly clock = new ManualClock();
  readonly rows = new Map<string, Workflow>();
  asked = 0;
  away = false;
  readonly registry = new Registry({
    clock: this.clock,
    news: new Newsroom({ bus: createMemoryBus(), instanceId: "here" }),
    store: {
      find: (id: string) => {
        this.asked++;
        return this.away ? Promise.reject(new Error("away")) : Promise.resolve(this.rows.get(id));
      },
    } as unknown as WorkflowStore,
  });

  set(workflowId: string, path: readonly string[], change: Partial<Workflow> = {}): void {
    const row = { workflowId, tenant: "acme", streamId: path[0], path, status: 1, ...change };
    this.rows.set(workflowId, row as Workflow);
  }

  require(workflowId: string) {
    return this.registry.require(access, workflowId);
  }
}

test("a workflow is read again after a minute, beside the call that asks; so lost news are healed", async () => {
  const world = new World();
  world.set("w", ["w"]);
  expect((await world.require("w")).hints).toEqual({ closed: false, cancelRequested: false });
  world.set("w", ["w"], { cancelRequestedMs: 5, status: 2 });
  world.clock.move(59_999);
  await world.require("w");
  expect(world.asked).toBe(1);
  world.clock.move(1);
  await world.require("w"); // answered at once
  await world.require("w");
  await settled();
  expect(world.asked).toBe(2);
  expect((await world.require("w")).hints).toEqual({ closed: true, cancelRequested: true });
});

test("after lost news all that was read before is read again when it is asked for, once", async () => {
  const world = new World();
  world.set("w", ["w"]);
  await world.require("w");
  world.clock.move(1);
  world.registry.doubtAll();
  world.clock.move(1);
  world.set("w", ["w"], { cancelRequestedMs: 5 });
  for (let i = 0; i < 3; i++) {
    await world.require("w");
    await settled();
  }
  expect(world.asked).toBe(2);
  expect((await world.require("w")).hints.cancelRequested).toBe(true);
});

test("while the database is away what is known stays, and each call tries again", async () => {
  const world = new World();
  world.set("w", ["w"]);
  await world.require("w");
  world.away = true;
  world.clock.move(60_000);
  for (let i = 0; i < 3; i++) {
    await world.require("w");
    await settled();
  }
  expect(world.asked).toBe(4);
  world.away = false;
  world.rows.clear();
  await world.require("w");
  await settled();
  await expect(world.require("w")).rejects.toThrow(DomainError);
});

test("closing a workflow with all below it is noted of what is known of its tree, and of nothing else", async () => {
  const world = new World();
  const paths = { r: ["r"], a: ["r", "a"], a1: ["r", "a", "a1"], b: ["r", "b"], o: ["o"] };
  for (const [id, path] of Object.entries(paths)) world.set(id, path);
  for (const id of Object.keys(paths)) await world.require(id);
  const closed = async () => {
    const found = [];
    for (const id of Object.keys(paths)) if ((await world.require(id)).hints.closed) found.push(id);
    return found;
  };
  const a = (await world.require("a")).identity;
  world.registry.noteClosed(a, false);
  expect(await closed()).toEqual(["a"]);
  world.registry.noteClosed(a, true);
  expect(await closed()).toEqual(["a", "a1"]);
  world.registry.noteDeleted("r");
  const before = world.asked;
  world.rows.clear();
  world.set("o", ["o"]);
  await world.require("o");
  expect(world.asked).toBe(before);
  for (const id of ["r", "a", "a1", "b"]) await expect(world.require(id)).rejects.toThrow(DomainError);
  // Its id in another tree: nothing of the old one holds.
  world.set("a", ["n", "a"]);
  expect((await world.require("a")).hints.closed).toBe(false);
});
