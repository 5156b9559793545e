/** Development mode: the console signs in by itself, and nobody else gets the key. */
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { readConfig } from "../../server/config.ts";
import { type RunningServer, startServer } from "../../server/main.ts";
import { createTestDatabase } from "../support/cluster.ts";
import { describeWith } from "../support/describe-with.ts";
import { template } from "../support/global-setup.ts";
import { chromiumTool, useBrowser } from "./browser.ts";
import { buildConsole } from "./built-console.ts";

const consoleFolder = chromiumTool.path === undefined ? "/nowhere" : await buildConsole();
const browser = useBrowser();
const key = "the-key-of-development-mode";
let server: RunningServer;

beforeAll(async () => {
  const { url } = await createTestDatabase(inject("clusterUrl"), { template });
  const settings = { DATABASE_URL: url, PORT: "0", TRIBUTARY_DEV_KEY: key, LOG_LEVEL: "error" };
  // The setting that lets any page call does not give it the key.
  server = await startServer(readConfig({ ...settings, CORS_ORIGINS: "*" }), { consoleFolder });
});
afterAll(() => server.close());

/** As bytes, since fetch would set these headers itself. */
async function ask(headers: Readonly<Record<string, string>>): Promise<{ status: number; body: string }> {
  const { port, host } = new URL(server.url);
  const socket = connect(Number(port), "127.0.0.1");
  const lines = Object.entries({ host, connection: "close", "content-length": "0", ...headers });
  socket.end(
    `POST /console/session HTTP/1.1\r\n${lines.map((line) => line.join(": ")).join("\r\n")}\r\n\r\n`,
  );
  let text = "";
  for await (const chunk of socket.setEncoding("utf8")) text += chunk;
  const [head = "", body = ""] = text.split("\r\n\r\n");
  return { status: Number(head.split(" ")[1]), body };
}

describe("the key of development mode", () => {
  const own = () => ({ origin: server.url, "sec-fetch-site": "same-origin" });

  test("is told to the page that this server served", async () => {
    const { status, body } = await ask(own());
    expect(status).toBe(200);
    expect(JSON.parse(body)).toEqual({ mode: "development", tenant: "dev", key });
  });

  test.each([
    ["a page of another site", { origin: "https://elsewhere.example", "sec-fetch-site": "cross-site" }],
    [
      "a page of another port of this machine",
      { origin: "http://127.0.0.1:1", "sec-fetch-site": "same-site" },
    ],
    [
      "a page under another name of this machine",
      { origin: "http://localhost:1", "sec-fetch-site": "cross-site" },
    ],
    ["a page without an origin", { origin: "null", "sec-fetch-site": "cross-site" }],
    [
      "a name that was bound to this machine",
      { host: "rebound.example", origin: "http://rebound.example", "sec-fetch-site": "same-origin" },
    ],
    ["an address that somebody follows", { "sec-fetch-site": "none" }],
    ["a browser that does not say what the page is", { origin: "own" }],
  ] as const)("is refused to %s", async (_, headers) => {
    const origin = "origin" in headers && headers.origin === "own" ? { origin: server.url } : {};
    const { status, body } = await ask({ ...headers, ...origin });
    expect(status).toBe(403);
    expect(body).not.toContain(key);
  });

  test("is given to no GET, so to no script or picture element either", async () => {
    const response = await fetch(`${server.url}/console/session`);
    expect(response.status).toBe(405);
    expect(await response.text()).not.toContain(key);
  });
});

describeWith(chromiumTool, "the console in development mode", () => {
  test("signs in by itself, also after its tab is loaded again, and keeps the key nowhere", async () => {
    const visitor = await browser.visit(server.url);
    const { page } = visitor;
    await page.getByText("tenant dev").waitFor();
    await page.getByText("No workflows yet").waitFor();
    await page.reload();
    await page.getByText("tenant dev").waitFor();
    const stored = await page.evaluate("JSON.stringify([{ ...sessionStorage }, { ...localStorage }])");
    expect(stored).toBe("[{},{}]");
    await visitor.leave();
  });

  test("a foreign page in the same browser cannot get the key, whatever it tries", async () => {
    const foreign = createServer((_, response) => {
      response.setHeader("content-type", "text/html");
      response.end("<!doctype html><title>foreign</title>");
    }).listen(0, "127.0.0.1");
    await once(foreign, "listening");
    const { port } = foreign.address() as AddressInfo;
    for (const host of ["127.0.0.1", "localhost"]) {
      const visitor = await browser.visit(`http://${host}:${port}/`);
      const tries = await visitor.page.evaluate(async (url) => {
        const attempt = (init: RequestInit) =>
          fetch(`${url}/console/session`, { method: "POST", ...init }).then(
            (response) => response.text(),
            (error: unknown) => String(error),
          );
        return [
          await attempt({}),
          await attempt({ mode: "no-cors" }),
          await attempt({ headers: { "content-type": "text/plain" }, body: "x" }),
          await attempt({ headers: { "sec-fetch-site": "same-origin", origin: url } }),
          await attempt({ credentials: "include" }),
        ];
      }, server.url);
      expect(tries.join()).not.toContain(key);
      const { page } = visitor;
      await page.close();
    }
    foreign.close();
    foreign.closeAllConnections();
  });
});
