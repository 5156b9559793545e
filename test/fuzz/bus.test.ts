/** What other instances say, gone wrong: it is ignored, and readers beside it go on as if nobody had said it. */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import { createMemoryBus } from "../../server/bus/memory-bus.ts";
import { fromBytes, toBytes } from "../../server/bus/notice-bytes.ts";
import type { Notice, SignalBody } from "../../server/core/ports.ts";
import type { RunningServer } from "../../server/main.ts";
import { startInstance, stopInstance } from "../support/instances.ts";
import { isFull, Random, seeds } from "../support/random.ts";
import { type Clients, createClients, disconnectClients, useServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { mutateBytes } from "./mutate-bytes.ts";

const rounds = isFull ? 20_000 : 1000;

const server = useServer();
const bus = createMemoryBus();
const bugs: unknown[] = [];
let instance: RunningServer;
let acme: Clients;
let admin: Clients;

beforeAll(async () => {
  instance = await startInstance(server.database.url, {}, bus);
  vi.spyOn(instance.log, "error").mockImplementation((...args: unknown[]) => bugs.push(args));
  acme = createClients(instance.url, server.acme.key);
  admin = createClients(instance.url, server.admin.key);
});

afterAll(async () => {
  vi.restoreAllMocks();
  if (instance === undefined) return;
  disconnectClients(instance.url);
  await stopInstance(instance);
  await bus.close();
});

const values: readonly SignalBody[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e300,
  2 ** 53,
  "",
  "x",
  "\0",
  "\ud800",
  [],
  [null],
  {},
  { a: { b: 1 } },
  "x".repeat(1000),
];
const kinds = [
  "cancel_requested",
  "workflow_closed",
  "tree_deleted",
  "session_taken",
  "session_ended",
  "key_revoked",
  "tenant_disabled",
  "tenant_changed",
  "constructor",
  "__proto__",
];
const names = [
  "workflowId streamId reason root withDescendants sessionId epoch apiKeyId tenant",
  "type instanceId component message metadata timestampMs number leaving",
]
  .join(" ")
  .split(" ");

const soundEvent = (number: number) => ({
  type: 4,
  instanceId: "another",
  component: "fuzz",
  message: `number ${number}`,
  metadata: { a: "b" },
  tenant: null,
  timestampMs: 1_800_000_000_000,
  number,
});

function signal(random: Random, number: number): [topic: string, body: SignalBody] {
  const some = () => random.pick(values);
  const fields = () => Object.fromEntries(names.map((name) => [name, some()]));
  const instanceId = `garbled-${random.below(3)}`;
  return random.pick<() => [string, SignalBody]>([
    () => [random.pick(["news", "peers", "system-events"]), some()],
    () => ["news", { from: some(), kind: random.pick(kinds), news: random.chance(0.5) ? fields() : some() }],
    () => ["peers", { instanceId: random.chance(0.5) ? instanceId : some(), leaving: some() }],
    () => ["system-events", { ...soundEvent(number), instanceId, [random.pick(names)]: some() }],
    () => ["system-events", { ...soundEvent(number), instanceId, metadata: { a: some() } }],
  ])();
}

/** Reads until it is left; how it failed, if it did. */
function read<T>(call: (signal: AbortSignal) => AsyncIterable<T>) {
  const leave = new AbortController();
  const messages: T[] = [];
  let failed: unknown;
  const done = (async () => {
    try {
      for await (const message of call(leave.signal)) messages.push(message);
      failed = "it ended";
    } catch (error) {
      if (!leave.signal.aborted) failed = error;
    }
  })();
  return {
    messages,
    failed: () => failed,
    async leave() {
      leave.abort();
      await done;
    },
  };
}

describe.each(seeds(1))("with seed %i", (seed) => {
  test(`signals that no instance would send (repeat it with TRIBUTARY_SEED=${seed})`, async () => {
    const random = new Random(seed);
    const reader = read((signal) => admin.admin.streamSystemEvents({}, { signal }));
    await until(() => expect(reader.messages.length).toBeGreaterThan(0));
    for (let number = 1; number <= rounds; number++) bus.signal(...signal(random, number));
    bus.signal("system-events", soundEvent(1));
    const texts = () =>
      reader.messages.map(({ message }) => (message.case === "event" ? message.value.message : ""));
    await until(() => {
      expect(reader.failed()).toBeUndefined();
      expect(texts()).toContain("number 1");
    });
    await reader.leave();
    expect(bugs).toEqual([]);
  });

  test(`notices whose bytes were changed (repeat it with TRIBUTARY_SEED=${seed})`, async () => {
    const random = new Random(seed);
    const { workflow } = await acme.workflows.createWorkflow({ name: "w" });
    const workflowId = workflow?.workflowId ?? "";
    const reader = read((signal) => acme.streams.streamWorkflow({ workflowId }, { signal }));
    const events = () =>
      reader.messages.flatMap(({ message }) =>
        message?.message.case === "events" ? message.message.value.events : [],
      );
    await until(() => expect(events().length).toBeGreaterThan(0));
    const opened = reader.messages[0]?.message?.message;
    const streamId = opened?.case === "opened" ? opened.value.streamId : "";
    let sound: Notice | undefined;
    const stop = await bus.subscribe(streamId, (notice) => {
      if (notice.entries !== undefined) sound ??= notice;
    });
    const write = (payload: string) =>
      acme.tasks.streamTaskData({
        workflowExecutionId: workflowId,
        taskExecutionId: "t",
        type: EventType.DATA,
        payload,
        waitForDurable: true,
      });
    await write("first");
    await until(() => expect(sound).toBeDefined());
    stop();
    for (let round = 0; round < rounds; round++) {
      const [bytes] = toBytes(sound as Notice, 1024 * 1024);
      const garbled = fromBytes(streamId, mutateBytes(random, Buffer.from(bytes as Uint8Array)));
      if (garbled !== undefined) bus.publish(garbled);
    }
    await write("last");
    await until(() => {
      expect(reader.failed()).toBeUndefined();
      expect(events().at(-1)?.payload.value).toBe("last");
    });
    const offsets = events().map(({ offset }) => Number(offset));
    expect(offsets).toEqual(offsets.map((_, i) => i + 1));
    await reader.leave();
    expect(bugs).toEqual([]);
  });
});

test("a notice with numbers that are none, or entries out of order, is no notice", () => {
  const entry = {
    workflowId: "w",
    taskExecutionId: "t",
    producerId: "",
    sequence: 0,
    type: 1,
    payload: "x",
    timestampMs: 1,
    recordedMs: 2,
  };
  const pass = (
    ...entries: { offset: number; timestampMs?: number; recordedMs?: number; sequence?: number }[]
  ) => {
    const notice = { streamId: "s", from: 1, to: 9, entries: entries.map((more) => ({ ...entry, ...more })) };
    return fromBytes("s", toBytes(notice, 10_000)[0] as Uint8Array);
  };
  expect(pass({ offset: 1 }, { offset: 2 })).toBeDefined();
  expect(pass({ offset: 2 }, { offset: 2 })).toBeUndefined();
  expect(pass({ offset: 1, timestampMs: Number.NaN })).toBeUndefined();
  expect(pass({ offset: 1, recordedMs: 1.5 })).toBeUndefined();
  expect(pass({ offset: 1, sequence: Number.POSITIVE_INFINITY })).toBeUndefined();
});
