import { EventSource } from "eventsource";
import { v4 as uuidv4, v7 as uuidv7 } from "uuid";
import { expect, test } from "vitest";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { useServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { type SseRequest, sse, sseOverHttp2 } from "./sse-client.ts";
import { newFamily, newWorkflow, publish, repeat, type TaskEventInit, token } from "./trees.ts";

const server = useServer();
const { COMPLETED, FAILED } = WorkflowStatus;

const path = (workflowId: string, rest = "", slug = "acme") =>
  `${server.url}/api/tenants/${slug}/stream/workflows/${workflowId}${rest}`;
const bearer = (key = server.acme.key) => ({ authorization: `Bearer ${key}` });
/** As acme. */
const get = (workflowId: string, rest = "", headers: Record<string, string> = {}) =>
  sse(path(workflowId, rest), { headers: { ...bearer(), ...headers } });
const close = (workflowId: string, status: WorkflowStatus = COMPLETED, closeDescendants = false) =>
  server.acme.workflows.closeWorkflow({ workflowId, status, closeDescendants, payload: '{"by":"test"}' });
const streamToken = async (workflowIds: string[], ttlSeconds = 900) =>
  (await server.acme.tokens.createStreamToken({ workflowIds, ttlSeconds })).token;
const data = (frame: { data?: string } | undefined) => JSON.parse(frame?.data ?? "null");
const status = async (url: string, request: SseRequest = {}) => {
  await using response = await sse(url, request);
  return response.status;
};

/** A closed workflow with five events. */
async function closedWorkflow(): Promise<string> {
  const id = await newWorkflow(server.acme);
  await publish(
    server.acme,
    repeat(3, (index) => token(id, `${index}`)),
  );
  await close(id);
  return id;
}

// --- What is sent

test("a workflow's stream in full: names, ids and data of every type of event", async () => {
  const { workflowId: id } = (await server.acme.workflows.createWorkflow({ name: "all" })).workflow ?? {};
  if (id === undefined) throw new Error("no workflow");
  const types: [keyof typeof EventType, string][] = [
    ["TOKEN", "token"],
    ["PROGRESS", "progress"],
    ["DATA", "data"],
    ["ERROR", "task_error"],
    ["STARTED", "started"],
    ["OUTPUT", "output"],
    ["TOOL_CALL", "tool_call"],
    ["TOOL_RESULT", "tool_result"],
    ["COMPLETED", "completed"],
    ["FAILED", "failed"],
    ["CANCELLED", "cancelled"],
  ];
  const payload = 'a "text"\nof\r\ntwo lines \u2028\u{1F680}\0 and id: 7\n\ndata: x';
  await publish(
    server.acme,
    types.map(
      ([type, name], index): TaskEventInit => ({
        workflowId: id,
        taskExecutionId: `task ${name}`,
        type: EventType[type],
        sequence: BigInt(index * 10),
        timestampMs: 1234n,
        payload: { case: "text", value: payload },
      }),
    ),
  );
  await server.acme.workflows.requestCancel({ workflowId: id, reason: "enough" });
  await close(id, FAILED);

  await using response = await get(id);
  await response.end();
  expect(response.status).toBe(200);
  expect(response.names).toEqual([
    "open",
    "workflow_created",
    ...types.map(([, name]) => name),
    "cancel_requested",
    "workflow_failed",
    "end",
  ]);
  const [open, created, ...rest] = response.events;
  const end = rest.pop();
  expect(open?.id).toBeUndefined();
  expect(data(open)).toMatchObject({
    streamId: expect.any(String),
    epoch: expect.any(Number),
    tailOffset: 14,
  });
  expect(data(open).startOffset ?? 0).toBe(0);
  expect(created?.id).toBe("1");
  expect(data(created)).toMatchObject({ type: "WORKFLOW_CREATED", workflowExecutionId: id, offset: 1 });
  for (const [index, frame] of rest.slice(0, types.length).entries()) {
    const [type, name] = types[index] ?? [];
    expect(frame.id).toBe(`${index + 2}`);
    expect(data(frame)).toEqual({
      type,
      workflowExecutionId: id,
      taskExecutionId: `task ${name}`,
      sequence: index * 10,
      offset: index + 2,
      payload,
      timestampMs: 1234,
      recordedMs: expect.any(Number),
    });
  }
  expect(data(rest.at(-1))).toMatchObject({ type: "WORKFLOW_FAILED", payload: '{"by":"test"}', offset: 14 });
  expect(end?.id).toBe("14");
  expect(data(end)).toMatchObject({ status: "FAILED", finalOffset: 14 });
  expect(response.names).not.toContain("error");
});

test("binary payloads are payloadBase64, an event without payload has an empty one or none", async () => {
  const id = await newWorkflow(server.acme);
  const bytes = Uint8Array.from(repeat(256, Number));
  await publish(server.acme, [
    { ...token(id, ""), payload: { case: "binary", value: bytes } },
    { workflowId: id, taskExecutionId: "t", type: EventType.COMPLETED },
  ]);
  await close(id);
  await using response = await get(id);
  const [, , binary, empty] = (await response.end()).events;
  expect(data(binary)).toMatchObject({
    payloadBase64: Buffer.from(bytes).toString("base64"),
    taskExecutionId: "t",
  });
  expect(data(binary)).not.toHaveProperty("payload");
  expect(data(empty).payload ?? "").toBe("");
  expect(data(empty)).not.toHaveProperty("payloadBase64");
  expect(data(empty)).not.toHaveProperty("replaced");
});

test("headers say that this is a stream nobody may keep or hold back", async () => {
  const id = await closedWorkflow();
  for (const open of [sse, sseOverHttp2]) {
    await using response = await open(path(id), { headers: bearer() });
    expect(response.status).toBe(200);
    expect(response.headers).toMatchObject({
      "content-type": expect.stringMatching(/^text\/event-stream/),
      "cache-control": "no-store",
      "x-accel-buffering": "no",
    });
    expect(response.headers["content-encoding"]).toBeUndefined();
    await response.end();
  }
});

test("workflow, consolidated and task routes show their scopes, the same over HTTP/1.1 and HTTP/2", async () => {
  const { root, child, grandchild } = await newFamily(server.acme);
  const routes = [
    [root, ""],
    [root, "/consolidated"],
    [child, "/consolidated"],
    [grandchild, "/tasks/t%20%2F%F0%9F%9A%80"],
  ] as const;
  const task = "t /\u{1F680}";
  const opened = await Promise.all(
    routes.flatMap(([id, rest]) =>
      [sse, sseOverHttp2].map((open) => open(path(id, rest), { headers: bearer() })),
    ),
  );
  for (const response of opened) await response.until(() => expect(response.names[0]).toBe("open"));
  const late = await newWorkflow(server.acme, child);
  await publish(
    server.acme,
    [root, child, grandchild, late].map((id) => token(id, id, task)),
  );
  await publish(server.acme, [{ ...token(grandchild, "", task), type: EventType.COMPLETED }]);
  await close(root, COMPLETED, true);
  const texts = await Promise.all(opened.map(async (response) => (await response.end()).text));
  for (let at = 0; at < texts.length; at += 2) expect(texts[at]).toBe(texts[at + 1]);
  const [ofRoot, , tree, , ofChild, , ofTask] = opened;
  expect(ofRoot?.ids).toEqual([1, 6, 15]);
  expect(tree?.ids).toEqual(repeat(15, (index) => index + 1));
  const members = new Set(ofChild?.events.map((frame) => data(frame).workflowExecutionId));
  expect(members).toEqual(new Set([undefined, child, grandchild, late]));
  expect(ofTask?.names).toEqual(["open", "token", "completed", "end"]);
  expect(data(ofTask?.events[3])).toMatchObject({ taskOutcome: "COMPLETED", finalOffset: 10 });
});

test("events are sent as they happen", async () => {
  const id = await newWorkflow(server.acme);
  await using response = await get(id);
  for (let at = 0; at < 20; at += 1) {
    await publish(server.acme, [token(id, `${at}`)]);
    await response.until(() => expect(response.ids.at(-1)).toBe(at + 2));
  }
  await close(id);
  await response.end();
});

test("an event of 1 MiB comes in one line", async () => {
  const id = await newWorkflow(server.acme);
  const text = "\n\u{1F680}ab".repeat(1024 * 128);
  await publish(server.acme, [token(id, text)]);
  await close(id);
  await using response = await get(id);
  const frame = (await response.end()).events[2];
  expect(data(frame).payload === text).toBe(true);
});

// --- Where to begin

test("after_offset, latest and Last-Event-ID say where to begin, the header wins", async () => {
  const id = await closedWorkflow();
  for (const [rest, headers, ids] of [
    ["", {}, [1, 2, 3, 4, 5]],
    ["?after_offset=0", {}, [1, 2, 3, 4, 5]],
    ["?after_offset=2", {}, [3, 4, 5]],
    ["", { "last-event-id": "3" }, [4, 5]],
    ["?after_offset=1", { "last-event-id": "4" }, [5]],
    ["?after_offset=4", { "last-event-id": "0" }, [1, 2, 3, 4, 5]],
    ["?after_offset=99", { "last-event-id": "4" }, [5]],
    ["?latest=true", { "last-event-id": "4" }, [5]],
  ] as const) {
    await using response = await get(id, rest, headers);
    await response.end();
    expect(response.ids, rest).toEqual(ids);
  }
  const open = await newWorkflow(server.acme);
  await using response = await get(open, "?latest=true");
  await response.until(() => expect(response.names).toEqual(["open"]));
  await publish(server.acme, [token(open, "new")]);
  await response.until(() => expect(response.ids).toEqual([2]));
  expect(data(response.events[0])).toMatchObject({ startOffset: 1 });
});

test("types are filtered by name", async () => {
  const id = await newWorkflow(server.acme);
  await publish(server.acme, [
    token(id, "1"),
    { ...token(id, "{}"), type: EventType.PROGRESS },
    { ...token(id, "{}"), type: EventType.DATA },
  ]);
  await close(id);
  await using response = await get(id, "?types=TOKEN,PROGRESS");
  expect((await response.end()).names).toEqual(["open", "token", "progress", "end"]);
  await using encoded = await get(id, "?types=WORKFLOW_COMPLETED%2CDATA");
  expect((await encoded.end()).names).toEqual(["open", "data", "workflow_completed", "end"]);
});

test("min_interval_ms collects events and loses none", async () => {
  const id = await newWorkflow(server.acme);
  await using response = await get(id, "?min_interval_ms=10000");
  await response.until(() => expect(response.names).toContain("open"));
  for (let at = 0; at < 30; at += 1) await publish(server.acme, [token(id, `${at}`)]);
  expect(response.ids.length).toBeLessThan(30);
  await close(id);
  await response.end();
  expect(response.ids).toEqual(repeat(32, (index) => index + 1));
});

// --- After the end

test("after the end a reconnect gets 204, before it the rest, beyond the tail 416", async () => {
  const { root, child } = await newFamily(server.acme);
  await publish(server.acme, [{ ...token(child, ""), type: EventType.COMPLETED }]); // 5
  await close(child); // 6
  await close(root, COMPLETED, true);
  const tail = 9;
  for (const [id, rest, final] of [
    [child, "", 6],
    [child, "/tasks/t", 5],
    [root, "/consolidated", tail],
    [root, "", tail],
  ] as const) {
    for (let offset = 0; offset <= tail + 2; offset += 1) {
      const expected = offset > tail ? 416 : offset >= final ? 204 : 200;
      for (const open of [sse, sseOverHttp2]) {
        await using byHeader = await open(path(id, rest), {
          headers: { ...bearer(), "last-event-id": `${offset}` },
        });
        expect(byHeader.status, `${rest} after ${offset} of ${final}`).toBe(expected);
        await byHeader.end();
        if (expected === 200) expect(byHeader.names.at(-1)).toBe("end");
        if (expected === 204) expect(byHeader.text).toBe("");
      }
      await using byQuery = await get(id, `${rest}?after_offset=${offset}`);
      expect(byQuery.status).toBe(expected);
      await byQuery.end();
    }
  }
});

test("a position beyond the tail of an open workflow is 416, another epoch 409", async () => {
  const id = await newWorkflow(server.acme);
  await using response = await get(id);
  await response.until(() => expect(response.names).toContain("open"));
  const { epoch } = data(response.events[0]);
  const url = path(id);
  const headers = bearer();
  expect(await status(`${url}?after_offset=2`, { headers })).toBe(416);
  expect(await status(url, { headers: { ...headers, "last-event-id": "2" } })).toBe(416);
  expect(await status(`${url}?expected_epoch=${epoch + 1}`, { headers })).toBe(409);
  expect(await status(`${url}?after_offset=1&expected_epoch=${epoch}`, { headers })).toBe(200);
});

// --- Checks and their order

test("checks come in their order: 401, 400, 403, 404, 416, 409", async () => {
  const mine = await newWorkflow(server.acme);
  const foreign = await newWorkflow(server.globex);
  const unknown = uuidv7();
  const bad = "?after_offset=1000&expected_epoch=99";
  const nobody = { headers: { authorization: "Bearer nonsense" } };
  const acme = { headers: bearer() };
  for (const rest of ["", "/consolidated", "/tasks/t"]) {
    const cases: [string, SseRequest, number][] = [
      [path("nonsense", rest + bad, "globex"), {}, 401],
      [path("nonsense", rest + bad, "globex"), nobody, 401],
      [path("nonsense", rest + bad, "globex"), acme, 400],
      [path("nonsense", rest + bad), acme, 400],
      [path(unknown, rest + bad, "globex"), acme, 403],
      [path(mine, rest + bad, "globex"), acme, 403],
      [path(foreign, rest + bad, "globex"), acme, 403],
      [path(foreign, rest + bad), acme, 403],
      [path(mine, rest, "nobody"), acme, 403],
      [path(unknown, rest + bad), acme, 404],
      [path(mine, rest + bad), acme, 416],
      [path(mine, `${rest}?expected_epoch=99`), acme, 409],
    ];
    for (const [url, request, expected] of cases) {
      for (const open of [sse, sseOverHttp2]) {
        await using response = await open(url, request);
        expect(response.status, url.slice(server.url.length)).toBe(expected);
        expect(response.headers["content-type"]).not.toMatch(/event-stream/);
        await response.end();
      }
    }
  }
});

test("an id in upper case is the same workflow", async () => {
  const id = await closedWorkflow();
  await using response = await get(id.toUpperCase());
  await response.end();
  expect(response.ids).toHaveLength(5);
});

test.each([
  "after_offset=x",
  "after_offset=-1",
  "after_offset=1.5",
  "after_offset=9007199254740992",
  "after_offset=99999999999999999999999",
  "types=NONSENSE",
  "types=TOKEN,token",
  "types=UNSPECIFIED",
  "min_interval_ms=x",
  "min_interval_ms=60001",
  "min_interval_ms=-1",
  "idle_timeout_ms=x",
  "idle_timeout_ms=-1",
  "min_interval_ms=500&idle_timeout_ms=500",
  "expected_epoch=x",
  "latest=x",
])("a bad query is 400: %s", async (query) => {
  const id = await closedWorkflow();
  await using response = await get(id, `?${query}`);
  await response.end();
  expect(response.status).toBe(400);
  expect(response.text).toContain(query.split("=")[0]);
});

test.each(["x", "-1", "1.5", "9007199254740992", "3, 4"])("a Last-Event-ID of %s is 400", async (id) => {
  const workflow = await closedWorkflow();
  await using response = await get(workflow, "", { "last-event-id": id });
  expect(response.status).toBe(400);
  await response.end();
});

test("task ids are checked as everywhere", async () => {
  const id = await closedWorkflow();
  const bad = ["a%0Ab", "%7F", "x".repeat(256), "%FF", "%", "a%00b"];
  const found = await Promise.all(
    bad.map(async (task) => [task, await status(path(id, `/tasks/${task}`), { headers: bearer() })]),
  );
  expect(found).toEqual(bad.map((task) => [task, 400]));
  expect(await status(path(id, `/tasks/${"x".repeat(255)}`), { headers: bearer() })).toBe(200);
});

test("other methods are 405, and HEAD sends no body", async () => {
  const id = await newWorkflow(server.acme);
  for (const open of [sse, sseOverHttp2]) {
    for (const method of ["POST", "PUT", "DELETE", "PATCH"]) {
      await using response = await open(path(id), { method, headers: bearer() });
      expect(response.status).toBe(405);
      expect(response.headers["allow"]).toContain("GET");
      await response.end();
    }
  }
});

test.each([
  ["HTTP/1.1", sse],
  ["HTTP/2", sseOverHttp2],
])("HEAD over %s sends no body and leaves no call open", async (_version, open) => {
  const id = await newWorkflow(server.acme);
  try {
    {
      await using head = await open(path(id), { method: "HEAD", headers: bearer() });
      await head.end();
      expect(head.text).toBe("");
      expect([200, 405]).toContain(head.status);
    }
    await until(() => expect(server.server.gauges().openCalls).toBe(0), 3000);
  } finally {
    await close(id);
    // A call that was left open would spoil the tests after this one.
    if (server.server.gauges().openCalls !== 0) await server.restart();
  }
});

// --- Credentials

test("access_token is for stream tokens, which also work as a bearer", async () => {
  const id = await closedWorkflow();
  const value = await streamToken([id]);
  expect(await status(path(id, `?access_token=${value}`))).toBe(200);
  expect(await status(path(id), { headers: bearer(value) })).toBe(200);
  expect(await status(path(id, `?access_token=${server.acme.key}`))).toBe(401);
  expect(await status(path(id, `?access_token=${server.admin.key}`))).toBe(401);
  expect(await status(path(id, "?access_token="))).toBe(401);
  expect(await status(path(id, "?access_token=nonsense"))).toBe(401);
});

test("a stream token opens its own subtrees alone", async () => {
  const { root, child, grandchild, sibling } = await newFamily(server.acme);
  await close(root, COMPLETED, true);
  const access = `?access_token=${await streamToken([child])}`;
  expect(await status(path(child, access))).toBe(200);
  expect(await status(path(child, `/consolidated${access}`))).toBe(200);
  expect(await status(path(grandchild, `/tasks/t${access}`))).toBe(200);
  expect(await status(path(root, access))).toBe(403);
  expect(await status(path(root, `/consolidated${access}`))).toBe(403);
  expect(await status(path(sibling, access))).toBe(403);
});

// --- Idle and keep-alive

test("without events for idle_timeout_ms it closes with a reason and a retry", async () => {
  const id = await newWorkflow(server.acme);
  await using response = await get(id, "?idle_timeout_ms=300");
  await response.end();
  expect(response.names).toEqual(["open", "workflow_created", "closing"]);
  const closing = response.events.at(-1);
  expect(data(closing)).toMatchObject({ reason: "IDLE_TIMEOUT" });
  expect(closing?.id).toBeUndefined();
  expect(closing?.retry).toMatch(/^[0-9]+$/);
  expect(Number(closing?.retry)).toBe(data(closing).reconnectAfterMs);
  // 0 would bring an EventSource back at once, for ever.
  expect(Number(closing?.retry)).toBeGreaterThan(0);
});

// --- A real EventSource

function eventSource(url: string, key?: string) {
  const source = new EventSource(url, {
    fetch: (input, init) =>
      fetch(input, {
        ...init,
        headers: { ...init.headers, ...(key === undefined ? {} : { Authorization: `Bearer ${key}` }) },
      }),
  });
  const seen: { name: string; id: string; data: unknown }[] = [];
  const errors: (number | undefined)[] = [];
  for (const name of ["open", "token", "workflow_created", "workflow_completed", "closing", "gap", "end"]) {
    source.addEventListener(name, (event) => {
      // EventSource's own `open` carries no data; it is not the server's.
      if (!("data" in event)) return;
      const { lastEventId, data: text } = event as MessageEvent;
      seen.push({ name, id: lastEventId, data: JSON.parse(String(text)) });
    });
  }
  source.addEventListener("error", (event) => {
    if (!("data" in event)) errors.push(event.code);
  });
  return {
    source,
    seen,
    errors,
    ids: () => seen.filter(({ name }) => name === "token").map(({ id }) => Number(id)),
    async [Symbol.asyncDispose]() {
      source.close();
    },
  };
}

test("an EventSource sees the stream and stops for good after the end", async () => {
  const id = await newWorkflow(server.acme);
  await using client = eventSource(path(id, `?access_token=${await streamToken([id])}`));
  await until(() => expect(client.seen.map(({ name }) => name)).toEqual(["open", "workflow_created"]));
  await publish(
    server.acme,
    repeat(5, (index) => token(id, `${index}`)),
  );
  await close(id);
  await until(() => expect(client.source.readyState).toBe(EventSource.CLOSED), 20_000);
  expect(client.seen.map(({ name, id: at }) => [name, at])).toEqual([
    ["open", ""],
    ["workflow_created", "1"],
    ...repeat(5, (index) => ["token", `${index + 2}`]),
    ["workflow_completed", "7"],
    ["end", "7"],
  ]);
  // Its first error is the end of the body, its last one the 204 that stops it.
  expect(client.errors.at(-1)).toBe(204);
});

test("an EventSource goes on through a restart of the server without gap or duplicate", async () => {
  const id = await newWorkflow(server.acme);
  await using client = eventSource(path(id), server.acme.key);
  await publish(
    server.acme,
    repeat(50, (index) => token(id, `${index}`)),
  );
  await until(() => expect(client.ids()).toHaveLength(50));
  await server.restart();
  await publish(
    server.acme,
    repeat(50, (index) => token(id, `${index + 50}`)),
  );
  await close(id);
  await until(() => expect(client.source.readyState).toBe(EventSource.CLOSED), 30_000);
  expect(client.ids()).toEqual(repeat(100, (index) => index + 2));
  expect(client.seen.filter(({ name }) => name === "open").length).toBeGreaterThan(1);
  expect(client.seen.find(({ name }) => name === "closing")?.data).toMatchObject({ reason: "DRAINING" });
  expect(client.seen.at(-1)).toMatchObject({ name: "end", id: "102" });
});

test("a server that stops tells open streams over both versions of HTTP", async () => {
  const id = await newWorkflow(server.acme);
  await using over1 = await get(id);
  await using over2 = await sseOverHttp2(path(id), { headers: bearer() });
  for (const response of [over1, over2]) {
    await response.until(() => expect(response.names).toEqual(["open", "workflow_created"]));
  }
  await server.restart();
  for (const response of [over1, over2]) {
    await response.end();
    expect(response.names.at(-1)).toBe("closing");
    expect(data(response.events.at(-1))).toMatchObject({ reason: "DRAINING" });
    expect(response.events.at(-1)?.retry).toMatch(/^[0-9]+$/);
  }
});

test("an EventSource gives up on a wrong credential", async () => {
  const id = await newWorkflow(server.acme);
  await using client = eventSource(path(id), "nonsense");
  await until(() => expect(client.source.readyState).toBe(EventSource.CLOSED));
  expect(client.errors).toEqual([401]);
});

test("unknown tenants and routes are not streams", async () => {
  const id = await newWorkflow(server.acme);
  const headers = bearer();
  for (const url of [
    path(id, "/tasks/"),
    path(id, "/tasks"),
    path(id, "/other"),
    path(id, "/consolidated/x"),
    `${server.url}/api/tenants/acme/stream/workflows/`,
    `${server.url}/api/tenants/acme/stream/${uuidv4()}`,
    `${server.url}/api/tenants/acme/stream`,
  ]) {
    expect([400, 404], url.slice(server.url.length)).toContain(await status(url, { headers }));
  }
});

// Last, so that its 15 s are the only ones of this file that are waited for.
test("a keep-alive after 15 s of silence moves the position past what is filtered", async () => {
  const id = await newWorkflow(server.acme);
  await using filtered = await get(id, "?types=PROGRESS");
  await using over2 = await sseOverHttp2(path(id, "?types=PROGRESS"), { headers: bearer() });
  await filtered.until(() => expect(filtered.names).toEqual(["open"]));
  await publish(
    server.acme,
    repeat(9, (index) => token(id, `${index}`)),
  );
  for (const response of [filtered, over2]) {
    await response.until(() => {
      const alive = response.frames.find((frame) => frame.comment !== undefined && frame.id !== undefined);
      expect(alive).toMatchObject({ id: "10" });
      expect(alive?.event).toBeUndefined();
      expect(alive?.data).toBeUndefined();
    }, 20_000);
    expect(response.names).toEqual(["open"]);
  }
});
