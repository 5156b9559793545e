/** Sessions of the SDK against a real server: room, refusals, handing over, and what ends them. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  CancelRequestedError,
  createTributaryClient,
  EntryRejectedError,
  EventType,
  EventTypeSchema,
  RejectionCode,
  SessionClosedError,
  SessionClosedReason,
  SessionFailedError,
  type SessionRecord,
  TooManyWritesError,
  type TributaryClient,
} from "../../client/index.ts";
import { newWorkflow, readAll } from "../api/trees.ts";
import { useServer } from "../support/server.ts";
import { holdStreams } from "../support/stream-lock.ts";
import { until } from "../support/until.ts";

const server = useServer();
let client: TributaryClient;
beforeAll(() => {
  client = createTributaryClient({ baseUrl: server.url, credential: server.acme.key });
});
afterAll(() => client.close());

const textsOf = async (workflowId: string) =>
  (await readAll(server.acme, workflowId)).slice(1).map(({ payload }) => payload.value);
const token = (text: string) => ({
  taskExecutionId: "t",
  type: EventType.TOKEN,
  payload: { case: "text" as const, value: text },
});

describe("a session", () => {
  test("says of one task what readers expect, and of other workflows of the tree too", async () => {
    const workflowId = await newWorkflow(server.acme);
    const child = await newWorkflow(server.acme, workflowId);
    await using session = client.openSession({ workflowId });
    const task = session.task("writer");
    await task.started({ model: "large" });
    await task.token("Héllo");
    await task.tokens(["a", "b"]);
    await task.progress(0.5, "half");
    await task.data({ rows: 3 });
    await task.data(new Uint8Array([0, 1, 2]));
    await task.error("slow", "E1");
    await task.toolCall({ id: "1", name: "search", arguments: { q: "x" } });
    await task.toolResult({ id: "1", name: "search", result: [1] });
    await task.output("done");
    await session.task("helper", child).failed("broken");
    const { settled } = await task.completed();
    expect(await settled).toEqual({ level: 2, sequence: 13, offset: expect.any(BigInt) });

    const events = (await readAll(server.acme, workflowId)).slice(2);
    expect(
      events.map(({ type, payload }) => [EventTypeSchema.value[type]?.localName, payload.value]),
    ).toEqual([
      ["STARTED", '{"model":"large"}'],
      ["TOKEN", "Héllo"],
      ["TOKEN", "a"],
      ["TOKEN", "b"],
      ["PROGRESS", '{"progress":0.5,"details":"half"}'],
      ["DATA", '{"rows":3}'],
      ["DATA", new Uint8Array([0, 1, 2])],
      ["ERROR", '{"message":"slow","code":"E1"}'],
      ["TOOL_CALL", '{"id":"1","name":"search","arguments":{"q":"x"}}'],
      ["TOOL_RESULT", '{"id":"1","name":"search","result":[1]}'],
      ["OUTPUT", "done"],
      ["FAILED", '{"message":"broken"}'],
      ["COMPLETED", undefined],
    ]);
    expect(events[11]?.workflowId).toBe(child);
    expect(events.every(({ timestampMs }) => timestampMs > 0n)).toBe(true);
  });

  test("slows a worker that is faster than the server: what is kept is bounded, tryWrite says full", async () => {
    const workflowId = await newWorkflow(server.acme);
    const session = client.openSession({ workflowId, maxEntries: 500, maxBytes: 256 * 1024 });
    await session.opened;
    const lock = await holdStreams(server.database.url, workflowId);
    const text = "x".repeat(1024);
    globalThis.gc?.();
    const before = process.memoryUsage().heapUsed;
    let written = 0;
    const count = 10_000;
    const working = (async () => {
      for (; written < count; written++) await session.write(token(text));
      await session.close();
    })();
    await until(() => expect(session.unsettled).toEqual({ entries: 256, bytes: 256 * 1024 }));
    const stuck = written;
    expect(session.tryWrite(token("more"))).toBe("full");
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(written).toBe(stuck); // it waits, for as long as the server does
    await lock.release();
    let peak = 0;
    let most = 0;
    const timer = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage().heapUsed - before);
      most = Math.max(most, session.unsettled.bytes);
    }, 5);
    await working;
    clearInterval(timer);
    console.log(
      `${count} entries of 1 KiB: stopped after ${stuck}, at most ${most / 1024} KiB kept, heap up to ${Math.round(peak / 2 ** 20)} MiB above (server included)`,
    );
    expect(most).toBeLessThanOrEqual(256 * 1024);
    expect((await textsOf(workflowId)).length).toBe(count);
  });

  test("refuses more waiting writes than anybody awaits, and gives up one that is aborted", async () => {
    const workflowId = await newWorkflow(server.acme);
    const lock = await holdStreams(server.database.url, workflowId);
    const session = client.openSession({ workflowId, maxEntries: 100 });
    for (let i = 0; i < 100; i++) await session.write(token("first"));
    const stop = new AbortController();
    const aborted = session.write(token("never"), { signal: stop.signal });
    const waiting = Array.from({ length: 999 }, (_, i) => session.write(token(`${i}`)));
    await expect(session.write(token("too many"))).rejects.toThrow(TooManyWritesError);
    stop.abort(new Error("no more"));
    await expect(aborted).rejects.toThrow("no more");
    const last = session.write(token("last"));
    await lock.release();
    await Promise.all([...waiting, last]);
    await session.close();
    const texts = await textsOf(workflowId);
    expect(texts.slice(99)).toEqual(["first", ...Array.from({ length: 999 }, (_, i) => `${i}`), "last"]);
  });

  test("rejects the promise of an entry that is refused for good, and the rest stands", async () => {
    const workflowId = await newWorkflow(server.acme);
    const session = client.openSession({ workflowId });
    const task = session.task("t");
    await task.token("a");
    await task.completed();
    const refused = await task.token("too late");
    await session.task("u").token("b");
    await expect(refused.settled).rejects.toMatchObject({
      name: "EntryRejectedError",
      code: RejectionCode.TASK_CLOSED,
      sequence: 3,
    });
    await session.close();
    expect(await textsOf(workflowId)).toEqual(["a", undefined, "b"]);
  });

  test("does not keep a refusal to itself: flush throws what nobody asked for, once, or onRejected hears it", async () => {
    const workflowId = await newWorkflow(server.acme);
    const session = client.openSession({ workflowId });
    await session.write({ ...token("x"), type: 99 as EventType });
    await session.write(token("good"));
    await expect(session.flush()).rejects.toThrow(EntryRejectedError);
    await session.close();

    const heard: EntryRejectedError[] = [];
    const other = client.openSession({ workflowId, onRejected: (error) => heard.push(error) });
    await other.write({ ...token("x"), taskExecutionId: "" });
    await other.close();
    expect(heard).toMatchObject([{ code: RejectionCode.INVALID, sequence: 1, position: 1 }]);
    expect(await textsOf(workflowId)).toEqual(["good"]);
  });

  test("tells as a signal that somebody asked to stop", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using session = client.openSession({ workflowId });
    await session.opened;
    await server.acme.workflows.requestCancel({ workflowId, reason: "enough" });
    await until(() => expect(session.cancelled.aborted).toBe(true));
    const { reason } = session.cancelled;
    expect(reason).toBeInstanceOf(CancelRequestedError);
    expect(reason).toMatchObject({ workflowId, message: "enough" });
    await session.task("t").cancelled();
  });

  test("is handed over by its id, also to the next process", async () => {
    const workflowId = await newWorkflow(server.acme);
    const first = client.openSession({ workflowId });
    await first.write(token("a"));
    const { settled } = await first.write({ ...token("bad"), taskExecutionId: "" });
    const refused = expect(settled).rejects.toThrow(EntryRejectedError);
    await first.detach();
    await refused;
    const heard: EntryRejectedError[] = [];
    const onRejected = (error: EntryRejectedError) => heard.push(error);
    const second = client.openSession({ workflowId, sessionId: first.sessionId, onRejected });
    expect(await second.opened).toEqual({ sessionId: first.sessionId, resumed: true, settled: 2 });
    await second.write(token("c"));
    await second.close();
    const events = (await readAll(server.acme, workflowId)).slice(1);
    expect(events.map(({ sequence }) => sequence)).toEqual([1n, 3n]);
    // The one before may not have lived to hear it.
    expect(heard).toMatchObject([{ sequence: 2, code: RejectionCode.INVALID }]);
    await expect(second.write(token("d"))).rejects.toThrow(SessionClosedError);
  });

  test("goes on in a new one when its lease is over, with what was not settled and nothing else", async () => {
    const workflowId = await newWorkflow(server.acme);
    let record: SessionRecord | undefined;
    const store = {
      load: () => record,
      save: (next: SessionRecord) => {
        record = next;
      },
    };
    const session = client.openSession({ workflowId, store });
    for (const text of ["a", "b"]) await session.write(token(text));
    await session.flush();
    const { sessionId } = session;
    expect(record).toEqual({ sessionId, before: 0 });
    await session.detach();
    await server.pool.query("update session set lease_expires_ms = 1 where session_id = $1", [sessionId]);

    const again = client.openSession({ workflowId, store });
    expect(await again.opened).toEqual({ sessionId: expect.any(String), resumed: false, settled: 2 });
    expect(again.sessionId).not.toBe(sessionId);
    await again.write(token("c"));
    await again.flush();
    expect(again.settled).toBe(3);
    await again.close();
    expect(record).toEqual({ sessionId: "", before: 3 });
    expect(await textsOf(workflowId)).toEqual(["a", "b", "c"]);
  });

  test("lives through a restart of the server while it is written to", async () => {
    const workflowId = await newWorkflow(server.acme);
    const session = client.openSession({ workflowId });
    const phases: string[] = [];
    session.onPhase((phase) => phases.push(phase));
    const texts = Array.from({ length: 3000 }, (_, i) => `${i}`);
    const restart = session.opened.then(() => server.restart());
    for (const text of texts) {
      await session.write(token(text));
      if (Number(text) % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await restart;
    await session.close();
    expect(await textsOf(workflowId)).toEqual(texts);
    expect(phases).toEqual(["open", "connecting", "open", "closed"]);
  });

  test("ends with the reason when another one takes it or an administrator closes it", async () => {
    const workflowId = await newWorkflow(server.acme);
    const taken = client.openSession({ workflowId });
    const { sessionId } = await taken.opened;
    const taker = client.openSession({ workflowId, sessionId });
    await expect(taken.closed).rejects.toMatchObject({ reason: SessionClosedReason.SUPERSEDED });
    await expect(taken.write(token("x"))).rejects.toThrow(SessionFailedError);
    await taker.opened;
    const waiting = taker.write(token("y"));
    await waiting;
    await taker.flush();
    await server.acme.admin.closeSession({ sessionId });
    await expect(taker.closed).rejects.toMatchObject({ reason: SessionClosedReason.ADMIN });
    await expect(taker.close()).rejects.toThrow("ADMIN");
  });

  test("fails at once for what does not heal, and ends with the signal", async () => {
    const unknown = client.openSession({ workflowId: crypto.randomUUID() });
    await expect(unknown.opened).rejects.toThrow(SessionFailedError);
    await expect(unknown.write(token("x"))).rejects.toThrow(/not known/);

    const stop = new AbortController();
    const session = client.openSession({
      workflowId: await newWorkflow(server.acme),
      signal: stop.signal,
    });
    await session.opened;
    stop.abort(new Error("stopped"));
    await expect(session.closed).rejects.toThrow("stopped");
    await expect(session.flush()).rejects.toThrow("stopped");
  });

  test("closed without drain gives up what is not settled, and does not wait for a server that is away", async () => {
    const workflowId = await newWorkflow(server.acme);
    const session = client.openSession({ workflowId });
    await session.opened;
    const lock = await holdStreams(server.database.url, workflowId);
    const { settled } = await session.write(token("a"));
    settled.catch(() => {});
    await session.close({ drain: false });
    await expect(settled).rejects.toThrow(SessionClosedError);
    await lock.release();

    const away = createTributaryClient({
      baseUrl: "http://127.0.0.1:1",
      resilience: { openTimeoutMs: 50 },
    });
    const nowhere = away.openSession({ workflowId });
    await nowhere.close({ drain: false });
    away.close();
  });
});

test("observations are written as events are", async () => {
  const session = client.openObservations({});
  const { settled } = await session.write({ content: "an otter was here", metadata: { by: "the SDK" } });
  expect((await settled).sequence).toBe(1);
  await session.close();
  const found = await client.recall({ cue: { case: "sessionId", value: session.sessionId } }).collect();
  expect(found.outcome).toBe("ended");
  expect(found.values.map(({ observation }) => observation?.content)).toEqual(["an otter was here"]);
});
