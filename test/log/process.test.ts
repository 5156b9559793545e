/** Lines arrive however the process ends, and writing them never holds it up. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, inject, test } from "vitest";
import { createTestDatabase } from "../support/cluster.ts";
import { template } from "../support/global-setup.ts";
import { adminKey, createClients, createTenant } from "../support/server.ts";
import { spawnServer } from "../support/spawned-server.ts";

const logger = fileURLToPath(new URL("../../server/log/logger.ts", import.meta.url));

/** Runs these lines in a process of its own, with `log`; gives what it said on stderr, and how it ended. */
async function run(code: string): Promise<{ lines: string[]; end: unknown }> {
  const source = `import { openLog } from ${JSON.stringify(logger)}; const { log, close } = openLog("info"); ${code}`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", source], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let text = "";
  child.stderr.setEncoding("utf8").on("data", (more: string) => {
    text += more;
  });
  const [[code_, signal]] = await Promise.all([once(child, "exit"), once(child.stderr, "close")]);
  return {
    lines: text.split("\n").filter((line) => line.startsWith("{")),
    end: signal ?? code_,
  };
}

const messages = (lines: readonly string[]) => lines.map((line) => JSON.parse(line).msg);

test.each([
  ["ends by itself", "log.info('a'); log.info('b');", 0],
  ["calls process.exit", "log.info('a'); log.info('b'); process.exit(3);", 3],
  ["throws what nobody catches", "log.info('a'); log.info('b'); throw new Error('lost');", 1],
  ["is closed and ends", "log.info('a'); close(); log.info('b');", 0],
  [
    "is killed right after a fatal line",
    "log.info('a'); log.fatal('b'); process.kill(process.pid, 'SIGKILL');",
    "SIGKILL",
  ],
])("of a process that %s every line arrives", async (_, code, end) => {
  const ended = await run(code);
  expect([messages(ended.lines), ended.end]).toEqual([["a", "b"], end]);
});

test("a log that nobody takes holds nothing up, and what waits is bounded: the rest is counted", async () => {
  const code = `
    const line = "x".repeat(1000);
    let longestMs = 0;
    let last = performance.now();
    const rss = process.memoryUsage().rss;
    for (let i = 0; i < 300; i++) {
      for (let n = 0; n < 700; n++) log.info(line);
      await new Promise((resolve) => setImmediate(resolve));
      longestMs = Math.max(longestMs, performance.now() - last);
      last = performance.now();
    }
    process.send({ longestMs, grownMb: (process.memoryUsage().rss - rss) / 2 ** 20 });
    process.on("message", () => process.disconnect());
  `;
  const source = `import { openLog } from ${JSON.stringify(logger)}; const { log } = openLog("info"); ${code}`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", source], {
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  const [said] = (await once(child, "message")) as [{ longestMs: number; grownMb: number }];
  // 210 MB were said, of which nobody has read a byte.
  expect(said.longestMs).toBeLessThan(1000);
  expect(said.grownMb).toBeLessThan(120);
  let text = "";
  child.stderr?.setEncoding("utf8").on("data", (more: string) => {
    text = (text + more).slice(-2_000_000);
  });
  const closed = once(child.stderr ?? child, "close");
  child.send("read");
  await closed;
  expect(text).toMatch(/"lines":\d+,"msg":"lines of the log were dropped/);
});

test("a server that is stopped has said its last lines", async () => {
  const database = await createTestDatabase(inject("clusterUrl"), { template });
  const server = await spawnServer({
    DATABASE_URL: database.url,
    TRIBUTARY_ADMIN_KEY: adminKey,
    LOG_LEVEL: "info",
    DRAIN_TIMEOUT_MS: "500",
  });
  const acme = await createTenant(createClients(server.url, adminKey), "acme");
  for (let i = 0; i < 3; i++) await acme.workflows.listWorkflows({});
  await server.kill("SIGTERM");
  const calls = server.errors().match(/"method":"tributary.v1.WorkflowService\/ListWorkflows"/g);
  expect(calls?.length).toBe(3);
});
