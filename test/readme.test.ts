/** The README's commands, run as they stand, against a server as `npm start` starts it (on a free port and folder). */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const readme = await readFile("README.md", "utf8");
const blocks = (language: string) =>
  [...readme.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, "gms"))].map((match) => match[1] ?? "");

test("the first steps work as they stand", { timeout: 120_000 }, async () => {
  const [demo, tests, ...steps] = blocks("sh");
  const inline = /run with `(.+?)`/.exec(readme)?.[1];
  expect(demo).toBe("npm ci && npm run demo\n");
  expect(tests).toBe("npm ci && npm run setup:tests && npm test\n");
  expect(steps.length).toBe(3);

  const folder = await mkdtemp(join(tmpdir(), "tributary readme "));
  const env = { ...process.env, DATA_DIR: folder, PORT: "0", LOG_LEVEL: "warn" };
  delete (env as NodeJS.ProcessEnv)["TRIBUTARY_API_KEY"];
  const server = spawn("npm", ["start"], { env, stdio: ["ignore", "pipe", "inherit"], detached: true });
  try {
    let url = "";
    for await (const line of createInterface({ input: server.stdout })) {
      url = /http:\/\/\S+/.exec(line)?.[0] ?? "";
      if (url !== "") break;
    }
    server.stdout.resume();
    const script = [...steps, inline]
      .join("\necho ----\n")
      .replaceAll("http://127.0.0.1:8080", url)
      .replaceAll(".data/dev-key", `"${folder}/dev-key"`);
    const { stdout } = await run("bash", ["-euo", "pipefail", "-c", script], {
      env: { ...env, TRIBUTARY_URL: url },
      maxBuffer: 10_000_000,
    });
    const [commands, sse, grpc, typescript] = stdout.split("----\n");
    expect(commands).toContain("0198f3a2-6b1c-7d4e-8f90-a1b2c3d4e5f6");
    expect(sse).toMatch(/event: token\nid: 2\ndata: .*"payload":"Hello, world"/);
    expect(sse).toMatch(/event: end\nid: 3\n/);
    expect(grpc).toContain('"text": "Hello, world"');
    expect(grpc).toContain('"status": "WORKFLOW_STATUS_COMPLETED"');
    expect(typescript).toMatch(/2 task-1 Hello, world/);
  } finally {
    const gone = once(server, "exit");
    process.kill(-(server.pid ?? 0), "SIGTERM");
    await gone;
    await rm(folder, { recursive: true, force: true });
  }
});

test("the TypeScript client of the README is the example, which is type-checked", async () => {
  expect(blocks("ts")).toEqual([await readFile("examples/follow.ts", "utf8")]);
});

test("the table of what is built names every service", async () => {
  for (const service of ["Workflow", "TaskStream", "EventStream", "Token", "Admin", "Variable", "Memory"]) {
    expect(readme).toMatch(new RegExp(`\\| .*${service}Service.*\\|`));
  }
});
