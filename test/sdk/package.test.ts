/**
 * The package as its users get it: built, packed, unpacked into a clean project; there it runs in Node, type-checks, and is
 * bundled for a browser and run in it. Its few dependencies are linked, so that no network is needed.
 */
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WorkflowStatus } from "../../client/index.ts";
import { newWorkflow, publish, token } from "../api/trees.ts";
import { useServer } from "../support/server.ts";
import { findChromium } from "../support/tools.ts";
import { until } from "../support/until.ts";

const run = promisify(execFile);
const browser = await findChromium();
const server = useServer({ CORS_ORIGINS: "*" });
const bin = (name: string) => resolve("node_modules/.bin", name);
/** Bytes of the browser's client with all that it uses, minified and compressed. */
const mostBytes = 60 * 1024;

let folder = "";
let tarball = "";
let bundle = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tributary-package-"));
  const built = join(folder, "built");
  await run(process.execPath, ["scripts/build-client.ts", built]);
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder, built]);
  tarball = join(folder, JSON.parse(stdout)[0].filename);
  const installed = join(folder, "node_modules/tributary");
  await mkdir(installed, { recursive: true });
  await run("tar", ["-xzf", tarball, "-C", installed, "--strip-components=1"]);
  const { dependencies } = JSON.parse(await readFile(join(installed, "package.json"), "utf8"));
  for (const name of [...Object.keys(dependencies), "@types/node"]) {
    const link = join(folder, "node_modules", name);
    await mkdir(dirname(link), { recursive: true });
    await symlink(resolve("node_modules", name), link);
  }
  await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }));
  for (const file of ["worker.ts", "page.ts"]) await cp(`test/sdk/package/${file}`, join(folder, file));
  await cp("examples/ai-page.ts", join(folder, "ai-page.ts"));
  const { outputFiles } = await build({
    absWorkingDir: folder,
    entryPoints: ["page.ts"],
    bundle: true,
    minify: true,
    write: false,
    platform: "browser",
    format: "esm",
    target: "es2022",
  });
  bundle = outputFiles[0]?.text ?? "";
});
afterAll(() => rm(folder, { recursive: true }));

test("publint and arethetypeswrong find nothing", async () => {
  const { publint } = await import("publint");
  const { messages } = await publint({
    pkgDir: join(folder, "node_modules/tributary"),
    strict: true,
    pack: false,
  });
  expect(messages).toEqual([]);
  const { stdout } = await run(bin("attw"), [tarball, "--profile", "esm-only", "--format", "json"]);
  const { analysis } = JSON.parse(stdout);
  // Packages for ES modules alone have nothing for CommonJS, nor for the resolution of before there were such.
  const problems = analysis.problems.filter(
    ({ kind, resolutionKind }: { kind: string; resolutionKind?: string }) =>
      kind !== "CJSResolvesToESM" && resolutionKind !== "node10",
  );
  expect([analysis.types.kind, problems]).toEqual(["included", []]);
});

test("writes and reads in Node", async () => {
  const args = ["worker.ts", server.url, server.acme.key];
  const { stdout } = await run(process.execPath, args, { cwd: folder, timeout: 30_000 });
  expect(stdout).toBe("opened events ended Hello world \n");
});

test("type-checks strictly, with Node's types and with those of browsers, as a bundler and as Node resolve it", async () => {
  const strict = { strict: true, noEmit: true, skipLibCheck: false, exactOptionalPropertyTypes: true };
  const projects = {
    node: {
      compilerOptions: { ...strict, module: "nodenext", target: "es2023", types: ["node"] },
      files: ["worker.ts"],
    },
    browser: {
      compilerOptions: {
        ...strict,
        module: "esnext",
        moduleResolution: "bundler",
        customConditions: ["browser"],
        target: "es2022",
        lib: ["es2022", "dom", "dom.iterable"],
        types: [],
      },
      files: ["page.ts", "ai-page.ts"],
    },
  };
  const checked = Object.entries(projects).map(async ([name, project]) => {
    await writeFile(join(folder, `${name}.json`), JSON.stringify(project));
    const { stdout } = await run(bin("tsc"), ["-p", `${name}.json`], { cwd: folder }).catch((error) => error);
    return stdout;
  });
  expect(await Promise.all(checked)).toEqual(["", ""]);
});

test("is small in a browser, holds nothing of Node, and the docs say how small", async () => {
  const bytes = gzipSync(bundle, { level: 9 }).length;
  console.log(
    `the browser's client: ${(bytes / 1024).toFixed(1)} KiB gzip, ${(bundle.length / 1024).toFixed(0)} KiB minified`,
  );
  expect(bytes).toBeLessThan(mostBytes);
  expect(bundle).not.toMatch(/"node:|http2|AdminService/);
  const said = /(\d+) KiB compressed/.exec(await readFile("docs/sdk.md", "utf8"))?.[1];
  expect(Math.abs(Number(said) - bytes / 1024)).toBeLessThan(2);
});

test.skipIf(browser.missing !== undefined)(
  `follows ten trees in a browser on HTTP/1.1, over one connection, through a restart${browser.missing === undefined ? "" : ` (skipped: ${browser.missing})`}`,
  async () => {
    const ids = await Promise.all(Array.from({ length: 10 }, () => newWorkflow(server.acme)));
    const { token: credential } = await server.acme.tokens.createStreamToken({ workflowIds: ids });
    const pages = await servePage(bundle);
    const opened = await chromium.launch({ executablePath: browser.path ?? "", args: ["--no-sandbox"] });
    try {
      const page = await opened.newPage();
      const query = new URLSearchParams({ url: server.url, token: credential });
      for (const id of ids) query.append("workflow", id);
      await page.goto(`${pages.url}?${query}`);
      const shown = async () => (await page.textContent("pre"))?.trim().split(" ").sort();
      const say = (text: string) => Promise.all(ids.map((id) => publish(server.acme, [token(id, text)])));
      await until(() => expect(server.server.gauges().openCalls).toBe(1));
      await say("a");
      await until(async () => expect(await shown()).toEqual(ids.map((_, at) => `${at}a`)));
      expect(server.server.gauges().openCalls).toBe(1);
      await server.restart();
      await say("b");
      for (const workflowId of ids) {
        await server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
      }
      const all = [...ids.flatMap((_, at) => [`${at}a`, `${at}b`]), "ended"].sort();
      await until(async () => expect(await shown()).toEqual(all), 20_000);
    } finally {
      await opened.close();
      pages.server.close();
    }
  },
);

async function servePage(script: string): Promise<{ server: Server; url: string }> {
  const pages = createServer((_, response) => {
    response.setHeader("content-type", "text/html; charset=utf-8");
    response.end(
      `<!doctype html><title>Tributary</title><body><script type="module">${script}</script></body>`,
    );
  });
  await new Promise<void>((done) => pages.listen(0, "127.0.0.1", done));
  return { server: pages, url: `http://127.0.0.1:${(pages.address() as AddressInfo).port}/` };
}
