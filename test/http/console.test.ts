/** The console's files as the server gives them: compressed, cached, under a strict policy, and found again after a build. */
import { mkdir, mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { connect } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync, brotliDecompressSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { useServer } from "../support/server.ts";

const folder = await mkdtemp(join(tmpdir(), "tributary-page-"));
const server = useServer({}, undefined, { consoleFolder: folder });
const script = "console.log('a script that is worth compressing');\n".repeat(50);

async function build(page: string, asset: string): Promise<void> {
  await rm(join(folder, "assets"), { recursive: true, force: true });
  await mkdir(join(folder, "assets"), { recursive: true });
  const file = join(folder, "assets", asset);
  await writeFile(file, script);
  await writeFile(`${file}.br`, brotliCompressSync(script));
  await writeFile(`${file}.gz`, gzipSync(script));
  await writeFile(join(folder, "index.html"), page);
}

beforeAll(() => build("<!doctype html><title>first</title>", "first-1.js"));
afterAll(() => rm(folder, { recursive: true, force: true }));

const get = (path: string, headers: Record<string, string> = {}) =>
  fetch(`${server.url}${path}`, { headers });

test("the page is never taken from a cache unasked, and allows nothing but this server's own files", async () => {
  const response = await get("/");
  expect(response.status).toBe(200);
  expect(await response.text()).toContain("first");
  expect(response.headers.get("content-type")).toBe("text/html; charset=utf-8");
  expect(response.headers.get("cache-control")).toBe("no-cache");
  const policy = response.headers.get("content-security-policy") ?? "";
  expect(policy).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self'; /);
  expect(policy).not.toMatch(/unsafe|\*|https?:/);
  expect(policy).toContain("frame-ancestors 'none'");
  expect(response.headers.get("x-content-type-options")).toBe("nosniff");
  expect(response.headers.get("referrer-policy")).toBe("no-referrer");
  const again = await get("/", { "if-none-match": response.headers.get("etag") ?? "" });
  expect(again.status).toBe(304);
});

test("assets are kept for ever, and come in the best form that the browser takes", async () => {
  const path = "/assets/first-1.js";
  for (const [accepted, encoding] of [
    ["gzip, deflate, br", "br"],
    ["gzip", "gzip"],
    ["br;q=0, gzip", "gzip"],
    ["identity", null],
  ] as const) {
    const response = await get(path, { "accept-encoding": accepted });
    expect([accepted, response.headers.get("content-encoding")]).toEqual([accepted, encoding]);
    expect(response.headers.get("cache-control")).toBe("public, max-age=31536000, immutable");
    expect(response.headers.get("vary")).toContain("accept-encoding");
    expect(await response.text()).toBe(script);
  }
});

test("over HTTP/2 they are the same, and HEAD gets the headers alone", async () => {
  const session = connect(server.url);
  const ask = (method: string) =>
    new Promise<{ status: number; length: string; body: Buffer }>((resolve, reject) => {
      const stream = session.request({
        ":method": method,
        ":path": "/assets/first-1.js",
        "accept-encoding": "br",
      });
      const chunks: Buffer[] = [];
      let head: Record<string, unknown> = {};
      stream.on("response", (headers) => {
        head = headers;
      });
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("error", reject);
      stream.on("end", () =>
        resolve({
          status: Number(head[":status"]),
          length: String(head["content-length"]),
          body: Buffer.concat(chunks),
        }),
      );
      stream.end();
    });
  const whole = await ask("GET");
  expect(brotliDecompressSync(whole.body).toString()).toBe(script);
  const head = await ask("HEAD");
  expect(head).toEqual({ status: 200, length: whole.length, body: Buffer.alloc(0) });
  session.close();
});

test("what is no file of the console is not found, as before; other verbs are refused", async () => {
  for (const path of [
    "/assets/other.js",
    "/assets/../package.json",
    "/assets/%2e%2e/package.json",
    "/index.html",
  ]) {
    const response = await get(path);
    expect([path, response.status, response.headers.get("content-type")]).toEqual([
      path,
      404,
      "application/json",
    ]);
  }
  expect((await fetch(`${server.url}/`, { method: "POST" })).status).toBe(405);
  expect((await get("/api/tenants/acme/nothing")).status).toBe(404);
  const session = await fetch(`${server.url}/console/session`, { method: "POST" });
  expect(await session.json()).toEqual({ mode: "production" });
});

test("a new build is served without a restart, and pages of the build before still get their files", async () => {
  await build("<!doctype html><title>second</title>", "second-2.js");
  // Builds within one tick of a coarse clock would have one time.
  await utimes(join(folder, "index.html"), new Date(), new Date(Date.now() + 5000));
  expect(await (await get("/")).text()).toContain("second");
  expect((await get("/assets/second-2.js")).status).toBe(200);
  expect((await get("/assets/first-1.js")).status).toBe(200);
});
