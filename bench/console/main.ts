/**
 * `npm run bench:console`: how the console bears a busy tree. A server and a browser of their own, five thousand tokens a second
 * over ten workflows for a minute; told are frames, memory, and the size of the first load. See docs/console.md.
 */
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium, type Page } from "playwright-core";
import { createTributaryClient, sleep, WorkflowStatus } from "../../client/node.ts";
import { spawnServer } from "../../test/support/spawned-server.ts";
import { findChromium } from "../../test/support/tools.ts";
import { type Cpu, type Memory, openProbe } from "./probe.ts";

const seconds = Number(process.argv[2] ?? 60);
const perSecond = Number(process.argv[3] ?? 5000);
const workflows = 10;
const tickMs = 20;
const key = "the-key-of-the-benchmark";

const { path: executablePath, missing } = await findChromium();
if (executablePath === undefined) throw new Error(missing);
const folder = await mkdtemp(join(tmpdir(), "tributary-bench-"));
const server = await spawnServer({ DATA_DIR: folder, TRIBUTARY_DEV_KEY: key });
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const client = createTributaryClient({ baseUrl: server.url, credential: key });
try {
  await printSizes();
  const ids = await startTree();
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  await page.goto(`${server.url}/#/workflows/${ids[0]}`);
  await page.locator(".card").first().waitFor();
  const probe = await openProbe(page);
  const before = await probe.memory();
  await probe.begin();
  const idle = await probe.cpu();
  const memories: Memory[] = [];
  const written = await publish(ids, async () => {
    memories.push(await probe.memory());
  });
  const frames = await probe.end();
  const busy = await probe.cpu();
  await until(page, `${written + ids.length}`);
  const after = await probe.memory();
  const mib = ({ heapBytes }: Memory) => Math.round(heapBytes / 1024 / 1024);
  console.log(`${written} tokens in ${seconds} s to one page; the page shows the last of them`);
  console.log(
    `frames: ${frames.perSecond.toFixed(1)} a second; ${frames.p50.toFixed(1)} ms between two at the median, ${frames.p95.toFixed(1)} ms at 95 %, ${frames.longest.toFixed(0)} ms at most`,
  );
  const share = (part: keyof Cpu) => `${(((busy[part] - idle[part]) / seconds) * 100).toFixed(0)} %`;
  console.log(
    `CPU: the page ${share("page")} of a core, drawing ${share("painting")}; load of the machine ${loadavg()[0]?.toFixed(1)} on ${availableParallelism()} cores`,
  );
  console.log(`heap, MiB, collected: ${[before, ...memories, after].map(mib).join(" → ")}`);
  console.log(
    `seek to the middle of the history: ${(await probe.seek(0.5)).toFixed(0)} ms, and back live ${(await probe.goLive()).toFixed(0)} ms`,
  );
} finally {
  client.close();
  await browser.close();
  await server.kill("SIGTERM");
  await rm(folder, { recursive: true, force: true });
}

async function startTree(): Promise<string[]> {
  const create = async (name: string, parentWorkflowId: string) =>
    (await client.workflows.createWorkflow({ name, parentWorkflowId })).workflow?.workflowId ?? "";
  const rootId = await create("root", "");
  const ids = [rootId];
  while (ids.length < workflows) ids.push(await create(`child ${ids.length}`, rootId));
  return ids;
}

/** Paced by the clock: what a tick was late for, the next one brings. */
async function publish(ids: readonly string[], everyTenSeconds: () => Promise<void>): Promise<number> {
  const session = client.openSession({ workflowId: ids[0] ?? "" });
  const began = performance.now();
  let written = 0;
  let told = Promise.resolve();
  for (let next = 10; ; ) {
    const elapsed = (performance.now() - began) / 1000;
    if (elapsed >= next && elapsed < seconds) {
      next += 10;
      told = told.then(everyTenSeconds);
    }
    const due = Math.min(seconds, elapsed) * perSecond;
    for (; written < due; written += 1) {
      const workflowId = ids[written % ids.length] ?? "";
      await session.write({
        ...{ workflowId, taskExecutionId: "writer", type: 1 },
        payload: { case: "text", value: written % 12 === 0 ? "words\n" : "words " },
      });
    }
    if (elapsed >= seconds) break;
    await sleep(tickMs);
  }
  await session.close();
  await told;
  return written;
}

async function until(page: Page, offset: string): Promise<void> {
  await page.waitForFunction(
    `document.querySelector(".playback .number").textContent.replaceAll(",", "") === "${offset}"`,
    undefined,
    { timeout: 60_000 },
  );
  const { workflows: registry } = client;
  const rootId = new URL(page.url()).hash.split("/")[2] ?? "";
  await registry.closeWorkflow({
    workflowId: rootId,
    status: WorkflowStatus.COMPLETED,
    closeDescendants: true,
  });
}

/** What the browser gets before it shows the list of trees or one tree. */
async function printSizes(): Promise<void> {
  const assets = fileURLToPath(new URL("../../dist/web/", import.meta.url));
  const page = await (await fetch(`${server.url}/`)).text();
  const names = [
    "index.html",
    ...[...page.matchAll(/(?:src|href)="\.?\/(assets\/[^"]+)"/g)].map(([, name]) => name ?? ""),
  ];
  const all = await readdir(assets, { recursive: true });
  const size = async (suffix: string) => {
    let sum = 0;
    for (const name of names)
      sum += (await stat(join(assets, all.includes(name + suffix) ? name + suffix : name))).size;
    return `${(sum / 1024).toFixed(0)} KiB`;
  };
  console.log(
    `first load: ${names.length} files, ${await size("")}; gzip ${await size(".gz")}, br ${await size(".br")}`,
  );
}
