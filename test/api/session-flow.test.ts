/** Flow messages: each is answered, and a pause holds back what comes after it alone. */
import { describe, expect, test } from "vitest";
import { AckLevel } from "../../gen/tributary/v1/event_pb.ts";
import { FlowAction, RejectionCode, SessionState } from "../../gen/tributary/v1/session_pb.ts";
import { useServer } from "../support/server.ts";
import { openSession } from "../support/session-call.ts";
import { holdStreams } from "../support/stream-lock.ts";
import { until } from "../support/until.ts";
import { begin, stored, texts } from "./session-world.ts";

const server = useServer();
const { PAUSED } = RejectionCode;
const states = (call: { all(name: "status"): { state: SessionState }[] }) =>
  call.all("status").map(({ state }) => state);

test("each flow message is answered with exactly one status", async () => {
  const { call } = await begin(server.acme);
  const actions: [FlowAction, number, SessionState][] = [
    [FlowAction.BUFFER_STATUS, 0, SessionState.ACTIVE],
    [FlowAction.RESUME, 0, SessionState.ACTIVE],
    [FlowAction.PAUSE, 0, SessionState.PAUSED],
    [FlowAction.BUFFER_STATUS, 0, SessionState.PAUSED],
    [FlowAction.PAUSE, 0, SessionState.PAUSED],
    [FlowAction.SLOW_DOWN, 0.5, SessionState.PAUSED],
    [FlowAction.SPEED_UP, 0, SessionState.PAUSED],
    [FlowAction.RESUME, 0, SessionState.ACTIVE],
    [FlowAction.SLOW_DOWN, 1e30, SessionState.ACTIVE],
    [FlowAction.SPEED_UP, 0, SessionState.ACTIVE],
  ];
  for (const [action, preferredRate] of actions) {
    call.say("flow", { action, preferredRate, reason: "a reason\u0000", bufferRemaining: 0xffffffff });
  }
  await call.nth("status", actions.length);
  call.send({});
  await call.nth("rejected", 1);
  expect(states(call)).toEqual(actions.map(([, , state]) => state));
  for (const status of call.all("status")) {
    expect(status).toMatchObject({ queueCapacity: 100_000 });
    expect(status.pressure).toBeGreaterThanOrEqual(0);
    expect(status.pressure).toBeLessThan(0.5);
  }
});

test("the status tells how many entries wait in the lane", async () => {
  const { workflowId, call } = await begin(server.acme, { ackLevel: AckLevel.ACCEPTED });
  expect(await call.heard()).toMatchObject({ queueDepth: 0 });
  const lock = await holdStreams(server.database.url, workflowId);
  for (let first = 1; first <= 500; first += 10) call.batch(first, texts(10, first));
  await call.accepted(500);
  const { queueDepth, pressure } = await call.heard();
  expect(queueDepth).toBeGreaterThanOrEqual(400);
  expect(queueDepth).toBeLessThanOrEqual(500);
  expect(pressure).toBeGreaterThan(0);
  await lock.release();
  await call.durable(500);
  await until(async () => expect(await call.heard()).toMatchObject({ queueDepth: 0, pressure: 0 }));
});

describe("a pause", () => {
  test("refuses entries, once for each batch that begins at the expected number", async () => {
    const { workflowId, call } = await begin(server.acme);
    call.batch(1, texts(2));
    call.say("flow", { action: FlowAction.PAUSE });
    call.batch(3, texts(2, 3));
    call.batch(5, ["5"]);
    call.batch(3, texts(3, 3));
    await call.heard();
    expect(call.rejections()).toEqual([
      [PAUSED, 3, 3, false],
      [PAUSED, 3, 3, false],
    ]);
    call.say("flow", { action: FlowAction.RESUME });
    call.batch(5, ["5"]); // still dropped: the batch at 3 is awaited
    call.batch(3, texts(3, 3));
    await call.durable(5);
    expect(call.rejections()).toHaveLength(2);
    expect(await stored(server.acme, workflowId)).toEqual(texts(5));
  });

  test("lets what was accepted before be stored", async () => {
    const { workflowId, call } = await begin(server.acme);
    const lock = await holdStreams(server.database.url, workflowId);
    call.batch(1, texts(50));
    call.say("flow", { action: FlowAction.PAUSE });
    await call.nth("status", 1);
    await lock.release();
    await call.durable(50);
    expect(states(call)).toEqual([SessionState.PAUSED]);
    expect(await stored(server.acme, workflowId)).toEqual(texts(50));
  });

  test("is not a detachment: the registry shows it", async () => {
    const { call, sessionId } = await begin(server.acme);
    call.say("flow", { action: FlowAction.PAUSE });
    await call.nth("status", 1);
    await until(async () => {
      const { sessions } = await server.acme.admin.listSessions({ sessionId });
      expect(sessions).toMatchObject([{ state: SessionState.PAUSED }]);
    });
  });

  test("ends with its connection, or is told to the next one", async () => {
    const { workflowId, call, sessionId } = await begin(server.acme);
    call.say("flow", { action: FlowAction.PAUSE });
    await call.nth("status", 1);
    const again = await openSession(server.acme, workflowId, { sessionId });
    const { state } = await again.heard();
    again.batch(1, ["1"]);
    // What it says of itself is what it does.
    if (state === SessionState.PAUSED) expect(await again.nth("rejected", 1)).toMatchObject({ code: PAUSED });
    else await again.durable(1);
  });

  test("does not hinder a close", async () => {
    const { call } = await begin(server.acme);
    call.batch(1, texts(3));
    call.say("flow", { action: FlowAction.PAUSE });
    call.say("close", { drain: true, lastSequence: 3n });
    expect(await call.closed()).toMatchObject({ finalSequence: 3n, discarded: 0 });
  });
});

test("heartbeats of the client are taken at any time and change nothing", async () => {
  const { call } = await begin(server.acme);
  for (let n = 1; n <= 5; n++) {
    call.say("heartbeat", {});
    call.batch(n, [`${n}`]);
  }
  await call.durable(5);
  await call.heard();
  expect(new Set(call.replies.map((reply) => reply.case))).toEqual(new Set(["initAck", "ack", "status"]));
});
