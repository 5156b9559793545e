/** Memory as its callers see it: spaces, observing, single observations. Recalls are in recall.test.ts, flows in memory-flow.test.ts. */
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import { RejectionCode, SessionClosedReason } from "../../gen/tributary/v1/session_pb.ts";
import { byText, contents, MemoryCall, observe, openObserving, recalled } from "../support/memory-call.ts";
import { createTenant, useServer } from "../support/server.ts";
import { openSession } from "../support/session-call.ts";
import { until } from "../support/until.ts";
import { newWorkflow } from "./trees.ts";

const server = useServer();

let made = 0;
/** A new space of `acme`. */
async function newSpace(): Promise<string> {
  const space = `space-${++made}`;
  await server.acme.memory.createMemorySpace({ space });
  return space;
}

const codeOf = async (promise: Promise<unknown>): Promise<Code> =>
  promise.then(
    () => 0 as Code,
    (error) => ConnectError.from(error).code,
  );

/** Contents in order of offset. */
async function stored(space: string): Promise<string[]> {
  const { rows } = await server.pool.query(
    `select convert_from(e.payload, 'UTF8') as content
       from memory_space m join event e using (stream_id) where m.space = $1 order by e."offset"`,
    [space],
  );
  return rows.map((row) => row.content);
}

describe("spaces", () => {
  test("default exists before anybody made it, for reading, listing and changing", async () => {
    const fresh = await createTenant(server.admin, "fresh");
    const { memorySpaces } = await fresh.memory.listMemorySpaces({});
    expect(memorySpaces.map(({ space, tailOffset }) => [space, tailOffset])).toEqual([["default", 0n]]);
    expect((await recalled(fresh, byText("anything"))).complete).toMatchObject({ results: 0 });
    expect(await codeOf(fresh.memory.createMemorySpace({ space: "default" }))).toBe(Code.AlreadyExists);
    const { memorySpace } = await fresh.memory.updateMemorySpace({ space: "default", displayName: "Ours" });
    expect(memorySpace?.displayName).toBe("Ours");
  });

  test("default is made once, however many ask for it at once", async () => {
    const busy = await createTenant(server.admin, "busy");
    const spaces = await Promise.all(
      Array.from({ length: 10 }, async () => (await busy.memory.listMemorySpaces({})).memorySpaces),
    );
    for (const found of spaces) expect(found).toEqual(spaces[0]);
    expect(spaces[0]).toHaveLength(1);
  });

  test("are made, changed and listed by name in pages, each with its tail", async () => {
    const lister = await createTenant(server.admin, "lister");
    const retention = { maxAgeMs: 1000n, maxObservations: 5n };
    const { memorySpace } = await lister.memory.createMemorySpace({
      space: "zoo",
      displayName: "The zoo",
      retention,
    });
    expect(memorySpace).toMatchObject({ space: "zoo", displayName: "The zoo", tailOffset: 0n, retention });
    expect(Math.abs(Number(memorySpace?.createdMs) - Date.now())).toBeLessThan(60_000);
    await lister.memory.createMemorySpace({ space: "ant" });
    await observe(lister, "ant", ["one", "two"]);

    const renamed = await lister.memory.updateMemorySpace({ space: "zoo", displayName: "Zoo" });
    expect(renamed.memorySpace).toMatchObject({ displayName: "Zoo", retention });
    const kept = await lister.memory.updateMemorySpace({ space: "zoo", retention: { maxAgeMs: 7n } });
    expect(kept.memorySpace).toMatchObject({
      displayName: "Zoo",
      retention: { maxAgeMs: 7n, maxObservations: 0n },
    });

    const first = await lister.memory.listMemorySpaces({ pageSize: 2 });
    expect(first.memorySpaces.map(({ space, tailOffset }) => [space, tailOffset])).toEqual([
      ["ant", 2n],
      ["default", 0n],
    ]);
    const last = await lister.memory.listMemorySpaces({ pageSize: 2, pageToken: first.nextPageToken });
    expect(last.memorySpaces.map(({ space }) => space)).toEqual(["zoo"]);
    expect(last.nextPageToken).toBe("");
  });

  test("that exist are ALREADY_EXISTS, unknown ones NOT_FOUND, misnamed ones INVALID_ARGUMENT", async () => {
    const { memory } = server.acme;
    const space = await newSpace();
    expect(await codeOf(memory.createMemorySpace({ space }))).toBe(Code.AlreadyExists);
    expect(await codeOf(memory.updateMemorySpace({ space: "nowhere" }))).toBe(Code.NotFound);
    expect(
      await codeOf(memory.getObservation({ space: "nowhere", key: { case: "offset", value: 1n } })),
    ).toBe(Code.NotFound);
    expect(await codeOf(recalled(server.acme, { space: "nowhere", ...byText("x") }))).toBe(Code.NotFound);
    expect(await codeOf(openObserving(server.acme, "nowhere"))).toBe(Code.NotFound);
    for (const misnamed of ["", "No", "ab", "-abc", "a".repeat(64)]) {
      expect(await codeOf(memory.createMemorySpace({ space: misnamed })), misnamed).toBe(
        Code.InvalidArgument,
      );
    }
    expect(await codeOf(openObserving(server.acme, "No"))).toBe(Code.InvalidArgument);
    expect(await codeOf(memory.listMemorySpaces({ pageToken: "?" }))).toBe(Code.InvalidArgument);
    expect(await codeOf(memory.updateMemorySpace({ space, displayName: "n".repeat(5000) }))).toBe(
      Code.InvalidArgument,
    );
  });

  test("belong to their tenant: another one neither sees nor reaches them", async () => {
    const space = await newSpace();
    const sessionId = await observe(server.acme, space, [{ content: "secret", observationId: "s" }]);
    const { memorySpaces } = await server.globex.memory.listMemorySpaces({ pageSize: 1000 });
    expect(memorySpaces.map((found) => found.space)).not.toContain(space);
    expect(await codeOf(recalled(server.globex, { space, ...byText("secret") }))).toBe(Code.NotFound);
    expect(
      await codeOf(
        server.globex.memory.getObservation({ space, key: { case: "observationId", value: "s" } }),
      ),
    ).toBe(Code.NotFound);
    // The same name is another space there, also for a cue with a foreign session.
    await server.globex.memory.createMemorySpace({ space });
    const cue = { case: "sessionId" as const, value: sessionId };
    for (const request of [byText("secret"), { cue: { cue } }]) {
      expect((await recalled(server.globex, { space, ...request })).results).toEqual([]);
    }
    const open = await openObserving(server.acme, space);
    const own = open.all("initAck")[0]?.sessionId ?? "";
    expect(await codeOf(openObserving(server.globex, space, { sessionId: own }))).toBe(Code.PermissionDenied);
  });
});

describe("observing", () => {
  test("a thousand pipelined observations are acknowledged in order and stored once", async () => {
    const space = await newSpace();
    const call = await openObserving(server.acme, space);
    const texts = Array.from({ length: 1000 }, (_, i) => `note ${i + 1}`);
    for (let at = 0; at < 1000; at += 10) {
      call.batch(
        at + 1,
        texts.slice(at, at + 10).map((content) => ({ content })),
      );
    }
    const ack = await call.durable(1000);
    expect(ack.lastOffset).toBe(1000n);
    expect(await stored(space)).toEqual(texts);
    call.say("close", { drain: true });
    expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.CLIENT, finalSequence: 1000n });
  });

  test("fills in what was left out, and gives back what was said", async () => {
    const space = await newSpace();
    const before = Date.now();
    const sessionId = await observe(server.acme, space, [
      { content: "plain" },
      {
        observationId: "mine",
        content: "Grüße, 世界 🦦",
        metadata: { 'a"b\\': "{,}", "": "empty" },
        confidence: 0.25,
        importance: 0,
        observedMs: 12345n,
        // What the server sets is not taken from callers.
        offset: 99n,
        sessionId: "someone",
        recordedMs: 1n,
      },
    ]);
    const get = async (observationId: string) =>
      (
        await server.acme.memory.getObservation({
          space,
          key: { case: "observationId", value: observationId },
        })
      ).observation;
    const plain = await get(`${sessionId}:1`);
    expect(plain).toMatchObject({ content: "plain", confidence: 1, importance: 0.5, offset: 1n, sessionId });
    expect(Number(plain?.observedMs)).toBeGreaterThanOrEqual(before);
    const mine = await get("mine");
    expect(mine).toMatchObject({
      content: "Grüße, 世界 🦦",
      metadata: { 'a"b\\': "{,}", "": "empty" },
      confidence: 0.25,
      importance: 0,
      observedMs: 12345n,
      offset: 2n,
      sessionId,
    });
    expect(Number(mine?.recordedMs)).toBeGreaterThan(before - 60_000);
    const { observation } = await server.acme.memory.getObservation({
      space,
      key: { case: "offset", value: 2n },
    });
    expect(observation).toEqual(mine);
    for (const key of [
      { case: "offset" as const, value: 3n },
      { case: "observationId" as const, value: "yours" },
    ]) {
      expect(await codeOf(server.acme.memory.getObservation({ space, key }))).toBe(Code.NotFound);
    }
  });

  test("an id that the space has is ALREADY_EXISTS for good, and what follows stands", async () => {
    const space = await newSpace();
    await observe(server.acme, space, [{ observationId: "taken", content: "first" }]);
    const call = await openObserving(server.acme, space);
    call.batch(1, [
      { content: "a" },
      { observationId: "taken", content: "second" },
      { observationId: "twice", content: "b" },
      { observationId: "twice", content: "c" },
      { content: "d" },
    ]);
    await call.durable(5);
    expect(call.all("rejected").map(({ sequence, code, final }) => [sequence, code, final])).toEqual([
      [2n, RejectionCode.ALREADY_EXISTS, true],
      [4n, RejectionCode.ALREADY_EXISTS, true],
    ]);
    expect(call.all("rejected")[0]?.message).toContain('"taken"');
    expect(await stored(space)).toEqual(["first", "a", "b", "d"]);
    // In another space the id is free.
    const other = await newSpace();
    await observe(server.acme, other, [{ observationId: "taken", content: "other" }]);
    expect(await stored(other)).toEqual(["other"]);
    // A resume repeats what was rejected.
    call.cut();
    const again = await openObserving(server.acme, space, {
      sessionId: call.all("initAck")[0]?.sessionId ?? "",
    });
    const [ack] = again.all("initAck");
    expect(ack?.lastSequence).toBe(5n);
    expect(ack?.rejected.map(({ sequence, code }) => [sequence, code])).toEqual([
      [2n, RejectionCode.ALREADY_EXISTS],
      [4n, RejectionCode.ALREADY_EXISTS],
    ]);
  });

  test("of sessions that write the same ids at once each id is stored once", async () => {
    const space = await newSpace();
    const calls = await Promise.all(Array.from({ length: 4 }, () => openObserving(server.acme, space)));
    const ids = Array.from({ length: 200 }, (_, i) => `id-${i}`);
    for (const [i, call] of calls.entries()) {
      for (let at = 0; at < 200; at += 20) {
        call.batch(
          at + 1,
          ids.slice(at, at + 20).map((observationId) => ({ observationId, content: `${i}` })),
        );
      }
    }
    await Promise.all(calls.map((call) => call.durable(200)));
    expect(await stored(space)).toHaveLength(200);
    const rejected = calls.flatMap((call) => call.all("rejected"));
    expect(rejected).toHaveLength(600);
    for (const { code } of rejected) expect(code).toBe(RejectionCode.ALREADY_EXISTS);
  });

  test("what is wrong is rejected by its number, and the rest of a thousand is stored", async () => {
    const space = await newSpace();
    const call = await openObserving(server.acme, space);
    const wrong: Record<number, [object, RejectionCode]> = {
      3: [{ content: "" }, RejectionCode.INVALID],
      100: [{ content: "a\0b" }, RejectionCode.INVALID],
      200: [{ content: "x", confidence: 1.5 }, RejectionCode.INVALID],
      300: [{ content: "x", importance: Number.NaN }, RejectionCode.INVALID],
      400: [{ content: "x", observedMs: -1n }, RejectionCode.INVALID],
      500: [{ content: "x", metadata: { k: "v".repeat(17_000) } }, RejectionCode.INVALID],
      600: [{ content: "x", metadata: { k: "\0" } }, RejectionCode.INVALID],
      700: [{ content: "x", observationId: "i".repeat(1025) }, RejectionCode.INVALID],
      999: [{ content: "x".repeat(1024 * 1024 + 1) }, RejectionCode.TOO_LARGE],
    };
    const all = Array.from({ length: 1000 }, (_, i) => wrong[i + 1]?.[0] ?? { content: `${i + 1}` });
    call.batch(1, all);
    await call.durable(1000);
    expect(call.all("rejected").map(({ sequence, code, final }) => [Number(sequence), code, final])).toEqual(
      Object.entries(wrong).map(([sequence, [, code]]) => [Number(sequence), code, true]),
    );
    expect(await stored(space)).toHaveLength(991);
  });

  test("a session resumes where it was, in its own space only", async () => {
    const [space, other] = [await newSpace(), await newSpace()];
    const call = await openObserving(server.acme, space);
    const sessionId = call.all("initAck")[0]?.sessionId ?? "";
    call.batch(1, [{ content: "1" }, { content: "2" }]);
    await call.durable(2);
    call.cut();
    expect(await codeOf(openObserving(server.acme, other, { sessionId }))).toBe(Code.FailedPrecondition);
    const workflowId = await newWorkflow(server.acme);
    expect(await codeOf(openSession(server.acme, workflowId, { sessionId }))).toBe(Code.FailedPrecondition);
    const ofWorkflow = await openSession(server.acme, workflowId);
    const foreign = ofWorkflow.all("initAck")[0]?.sessionId ?? "";
    expect(await codeOf(openObserving(server.acme, space, { sessionId: foreign }))).toBe(
      Code.FailedPrecondition,
    );
    ofWorkflow.cut();
    const again = await openObserving(server.acme, space, { sessionId });
    expect(again.all("initAck")[0]?.lastSequence).toBe(2n);
    again.batch(2, [{ content: "2" }, { content: "3" }]);
    await again.durable(3);
    expect(await stored(space)).toEqual(["1", "2", "3"]);
    const { sessions } = await server.acme.admin.listSessions({ sessionId });
    expect(sessions).toMatchObject([{ sessionId, space, workflowId: "", lastSequence: 3n }]);
  });

  test("a workflow's stream takes no entry without a workflow", async () => {
    const workflowId = await newWorkflow(server.acme);
    const call = await openSession(server.acme, workflowId);
    call.say("batch", {
      firstSequence: 1n,
      events: [
        { workflowId: "00000000-0000-0000-0000-000000000000", taskExecutionId: "t", type: EventType.TOKEN },
      ],
    });
    await call.durable(1);
    expect(call.all("rejected")).toMatchObject([{ code: RejectionCode.INVALID, final: true }]);
    call.cut();
  });

  test("begins with init, once", async () => {
    const call = new MemoryCall(server.acme, "observeStream");
    call.batch(1, [{ content: "x" }]);
    expect(await codeOf(call.ended)).toBe(Code.FailedPrecondition);
    const twice = await openObserving(server.acme);
    twice.say("init", {});
    expect(await codeOf(twice.ended)).toBe(Code.FailedPrecondition);
  });
});

describe("content that is hard to index", () => {
  const kib = 1024;
  const words = (count: number, make: (i: number) => string) =>
    Array.from({ length: count }, (_, i) => make(i));

  test.each([
    ["one enormous word", "w".repeat(kib * kib)],
    ["many words of two KiB", words(500, (i) => `${i}`.padEnd(2000, "x")).join(" ")],
    [
      "distinct words",
      words(150_000, (i) => i.toString(36))
        .join(" ")
        .slice(0, kib * kib),
    ],
    [
      "hyphens, of which each makes several words",
      words(60_000, (i) => `a${i}-b${i}-c${i}`)
        .join(" ")
        .slice(0, kib * kib),
    ],
    [
      "addresses and paths",
      words(30_000, (i) => `http://h${i}.example/p${i}/q${i}?r=${i}`)
        .join(" ")
        .slice(0, kib * kib),
    ],
    ["characters of four bytes across the border", `x${"🦦".repeat(100_000)}`],
    ["nothing but signs", "!?.,;".repeat(1000)],
  ])("%s: it is stored whole, its neighbours too, and its first word is found", async (_, content) => {
    const space = await newSpace();
    const call = await openObserving(server.acme, space);
    call.batch(1, [
      { content: "before" },
      { content: `needle ${content}`.slice(0, kib * kib) },
      { content: "after" },
    ]);
    // A character of several bytes may make it too large; then it is cut shorter.
    await call.durable(3);
    expect(call.all("rejected")).toEqual([]);
    const { results } = await recalled(server.acme, { space, ...byText("needle") });
    expect(results).toHaveLength(1);
    expect(results[0]?.observation?.content.length).toBe(Math.min(kib * kib, content.length + 7));
    expect(contents((await recalled(server.acme, { space, ...byText("after") })).results)).toEqual(["after"]);
  });

  test("words beyond the first 256 KiB are not searched, those before are", async () => {
    const space = await newSpace();
    const filler = "filler ".repeat(40_000);
    const at = (bytes: number, word: string) => `${filler.slice(0, bytes)} ${word} ${filler}`;
    await observe(server.acme, space, [at(256 * kib - 100, "inside"), at(256 * kib + 100, "outside")]);
    expect((await recalled(server.acme, { space, ...byText("inside") })).results).toHaveLength(1);
    expect((await recalled(server.acme, { space, ...byText("outside") })).results).toHaveLength(0);
    expect((await recalled(server.acme, { space, ...byText("filler") })).results).toHaveLength(2);
  });

  test("nobody finds another space's words by the mark that the index has for a space", async () => {
    const space = await newSpace();
    await observe(server.acme, space, ["plain words"]);
    const { rows } = await server.pool.query("select stream_id from memory_space where space = $1", [space]);
    expect((await recalled(server.acme, { space, ...byText(`@${rows[0].stream_id}`) })).results).toEqual([]);
  });
});

test("sessions of spaces outlive a restart of the server", async () => {
  const space = await newSpace();
  const call = await openObserving(server.acme, space);
  const sessionId = call.all("initAck")[0]?.sessionId ?? "";
  call.batch(1, [{ content: "before" }]);
  await call.durable(1);
  await server.restart();
  expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.DRAINING });
  const again = await until(() => openObserving(server.acme, space, { sessionId }));
  again.batch(2, [{ content: "after" }]);
  await again.durable(2);
  expect(await stored(space)).toEqual(["before", "after"]);
});
