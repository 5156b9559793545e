/** A real browser, on HTTP/1.1 (browsers speak HTTP/2 with TLS only), from a page of another origin than the server. */
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { Code } from "@connectrpc/connect";
import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { useServer } from "../support/server.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { findChromium } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { blocksOf } from "./blocks.ts";
import { serveWebPages } from "./browser/web-pages.ts";
import { type Call, callOf, withClientStreamsOf } from "./driver.ts";
import { BrowserPage } from "./drivers/browser.ts";
import { openGrpcJs } from "./drivers/grpc-js.ts";
import { expected } from "./expected.ts";
import { describeClient } from "./matrix.ts";
import { following } from "./script.ts";
import { readingBySse } from "./sse.ts";

const { path, missing } = await findChromium();
const pages = await serveWebPages();
const server = useServer({ CORS_ORIGINS: `https://elsewhere.example,${pages.allowed}` });
let browser: Browser;
let page: BrowserPage;
let foreignPage: BrowserPage;

beforeAll(async () => {
  if (path === undefined) return;
  // Chromium's sandbox does not work as root, and nothing strange is loaded here.
  browser = await chromium.launch({ executablePath: path, args: ["--no-sandbox"] });
  const context = await browser.newContext();
  page = await BrowserPage.open(context, pages.allowed);
  foreignPage = await BrowserPage.open(context, pages.forbidden);
});
afterAll(async () => {
  await browser?.close();
  await pages.close();
});

for (const protocol of ["connect", "connect, binary", "grpcweb"] as const) {
  const open = async () =>
    withClientStreamsOf(await openGrpcJs(server.url, "v1"), page.driver(server.url, protocol));
  describeClient(`connect-web in Chromium, ${protocol} (client streams by another client)`, server, open, {
    missing,
  });
}

const describeBrowser = describe.skipIf(path === undefined);
const suffix = missing === undefined ? "" : ` (${missing})`;

describeBrowser(`connect-web in Chromium${suffix}`, () => {
  test.each(["connect", "grpcweb"] as const)(
    "cannot stream requests by %s, and says so",
    async (protocol) => {
      const call = page
        .driver(server.url, protocol)
        .call("tributary.v1.TaskStreamService/PublishTaskEvents", [{ events: [] }], server.acme.key);
      expect(await call.outcome).toMatchObject({ code: "unknown" });
    },
  );
});

describeBrowser(`follow of this project in Chromium${suffix}`, () => {
  test.each([false, true])(
    "goes on by itself after a restart of the server, calls shared: %s",
    async (shared) => {
      const workflowId = await newWorkflow();
      const call = page.followTree(server.url, shared, server.acme.key, workflowId);
      await publish(workflowId, "before");
      await until(() => expect(offsetsOf(call)).toEqual(["1", "2"]));
      await server.restart();
      await publish(workflowId, "after");
      await close(workflowId);
      expect(await call.outcome).toMatchObject({ code: "ok" });
      expect(offsetsOf(call)).toEqual(["1", "2", "3", "4"]);
      const kinds = call.messages.map(({ kind }) => kind);
      expect(kinds[0]).toBe("opened");
      expect(kinds.at(-1)).toBe("ended");
      expect(kinds).toContain("interrupted");
      expect(kinds.filter((kind) => kind === "resumed")).toEqual(["resumed"]);
    },
  );

  test("says what trying again cannot heal", async () => {
    const call = page.followTree(server.url, false, server.globex.key, await newWorkflow());
    expect(await call.outcome).toMatchObject({ code: "permission_denied" });
  });
});

describeBrowser(`StreamMany in Chromium${suffix}`, () => {
  test.each(["connect", "connect, binary", "grpcweb"] as const)(
    "follows ten workflows of one page over one HTTP/1.1 connection, by %s",
    async (protocol) => {
      const proxy = await startTcpProxy("127.0.0.1", Number(new URL(server.url).port));
      const ids = await Promise.all(Array.from({ length: 10 }, newWorkflow));
      const call = page
        .driver(`http://127.0.0.1:${proxy.port}`, protocol)
        .call(
          "tributary.v1.EventStreamService/StreamMany",
          [{ targets: ids.map((workflowId) => ({ label: workflowId, workflowId })) }],
          server.acme.key,
        );
      const said = (label: string) =>
        call.messages.flatMap((answer) =>
          answer["label"] === label ? [Object.keys(answer["message"] as object)[0]] : [],
        );
      await until(() => expect(ids.map((id) => said(id)[0])).toEqual(ids.map(() => "opened")));
      for (let round = 0; round < 3; round++) for (const id of ids) await publish(id, `${round}`);
      for (const id of ids) await close(id);
      expect(await call.outcome).toMatchObject({ code: "ok" });
      for (const id of ids) {
        const events = call.messages.flatMap(({ label, message }) =>
          label === id
            ? ((message as { events?: { events: { offset: string }[] } }).events?.events ?? [])
            : [],
        );
        expect(events.map(({ offset }) => offset)).toEqual(["1", "2", "3", "4", "5"]);
        expect(said(id).at(-1)).toBe("ended");
      }
      expect(proxy.accepted).toBe(1);
      await proxy.close();
    },
  );
});

describeBrowser(`EventSource in Chromium${suffix}`, () => {
  test("follows, resumes and reads one task with a stream token in the query", async () => {
    const driver = readingBySse(page.driver(server.url, "connect"), () => "acme", bySource);
    const observed = await following({ driver, acme: server.acme.key, globex: server.globex.key });
    // It cannot see the 204, only that it may stop.
    const fromTheEnd = { code: "closed", messages: [] };
    expect(observed).toEqual({ ...expected.following, fromTheEnd });
  });

  test("comes back by itself with its Last-Event-ID after a restart, and stops for good at the end", async () => {
    const workflowId = await newWorkflow();
    const call = page.source(await urlOf(workflowId), { closeAtEnd: false });
    try {
      await publish(workflowId, "before");
      await until(() => expect(idsOf(call)).toEqual([1, 2]));
      await server.restart();
      await publish(workflowId, "after");
      await until(() => expect(idsOf(call)).toEqual([1, 2, 3]), 20_000);
      const opened = call.messages
        .filter(({ name }) => name === "open")
        .map(({ data }) => JSON.parse(String(data)));
      expect(opened.map(({ startOffset }) => startOffset)).toEqual([0, 2]);
      expect(call.messages.map(({ name }) => name)).toContain("closing");
      await close(workflowId);
      // The server ends the response after `end`; the browser asks again, and the answer is 204.
      expect(await call.outcome).toMatchObject({ code: "closed" });
      expect(idsOf(call)).toEqual([1, 2, 3, 4]);
      expect(call.messages.filter(({ name }) => name === "end").length).toBe(1);
    } finally {
      await call.cancel();
    }
  });

  test("does what the page of the docs says", async () => {
    const [script = ""] = blocksOf(await readFile("docs/clients.md", "utf8"), "js");
    const workflowId = await newWorkflow();
    const { token } = await server.acme.tokens.createStreamToken({ workflowIds: [workflowId] });
    const lines = await page.run(script, { url: server.url, tenant: "acme", workflowId, token });
    await publish(workflowId, "Hello");
    await publish(workflowId, "world");
    await close(workflowId);
    await until(() => expect(lines).toEqual(["Hello", "world"]));
  });

  test("gives up at once on a key in the query", async () => {
    const url = new URL(await urlOf(await newWorkflow()));
    url.searchParams.set("access_token", server.acme.key);
    const call = page.source(url.href);
    expect(await call.outcome).toMatchObject({ code: "closed" });
    expect(call.messages).toEqual([]);
  });
});

describeBrowser(`a page of an origin that is not in CORS_ORIGINS${suffix}`, () => {
  test("cannot call, and what it wanted does not happen", async () => {
    const workflowId = randomUUID();
    for (const protocol of ["connect", "grpcweb"] as const) {
      const call = foreignPage
        .driver(server.url, protocol)
        .call("tributary.v1.WorkflowService/CreateWorkflow", [{ workflowId, name: "x" }], server.acme.key);
      expect(await call.outcome).toMatchObject({ code: "unknown", message: "Failed to fetch" });
    }
    await expect(server.acme.workflows.getWorkflow({ workflowId })).rejects.toMatchObject({
      code: Code.NotFound,
    });
  });

  test("hears nothing of a stream, though it has a valid token", async () => {
    const workflowId = await newWorkflow();
    const url = await urlOf(workflowId);
    const call = foreignPage.source(url);
    expect(await call.outcome).toMatchObject({ code: "closed" });
    expect(call.messages).toEqual([]);
    const allowed = page.source(url);
    await until(() => expect(idsOf(allowed)).toEqual([1]));
    await allowed.cancel();
  });

  test("is told nothing by the preflight, while the others are told what they may", async () => {
    const preflight = (origin: string) =>
      fetch(`${server.url}/tributary.v1.WorkflowService/CreateWorkflow`, {
        method: "OPTIONS",
        headers: {
          origin,
          "access-control-request-method": "POST",
          "access-control-request-headers": "authorization,connect-protocol-version,content-type",
        },
      });
    const refused = await preflight(pages.forbidden);
    expect(refused.headers.get("access-control-allow-origin")).toBe(null);
    const allowed = await preflight(pages.allowed);
    expect(allowed.headers.get("access-control-allow-origin")).toBe(pages.allowed);
    const headers = allowed.headers.get("access-control-allow-headers")?.toLowerCase().split(/,\s*/);
    expect(headers).toEqual(
      expect.arrayContaining(["authorization", "connect-protocol-version", "content-type"]),
    );
  });
});

async function newWorkflow(): Promise<string> {
  const { workflow } = await server.acme.workflows.createWorkflow({ name: "for a browser" });
  return workflow?.workflowId ?? "";
}

const publish = (workflowExecutionId: string, payload: string) =>
  server.acme.tasks.streamTaskData({
    workflowExecutionId,
    taskExecutionId: "t",
    type: EventType.TOKEN,
    payload,
    waitForDurable: true,
  });

const close = (workflowId: string) =>
  server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });

/** Address of a workflow's consolidated stream, with a token for it alone. */
async function urlOf(workflowId: string): Promise<string> {
  const { token } = await server.acme.tokens.createStreamToken({ workflowIds: [workflowId] });
  return `${server.url}/api/tenants/acme/stream/workflows/${workflowId}/consolidated?access_token=${token}`;
}

function bySource(path: string): Call {
  return callOf(async (messages, signal) => {
    const url = new URL(path, server.url);
    const workflowId = url.pathname.split("/")[6] ?? "";
    const { token } = await server.acme.tokens.createStreamToken({ workflowIds: [workflowId] });
    url.searchParams.set("access_token", token);
    return await page.subscription(url.href, messages, signal);
  });
}

/** Ids of events, not of the records around them. */
const idsOf = (call: Call): number[] =>
  call.messages
    .filter(({ name }) => !["open", "closing", "end"].includes(String(name)))
    .map(({ lastEventId }) => Number(lastEventId));

const offsetsOf = (call: Call): unknown[] => call.messages.flatMap(({ offsets }) => offsets);
