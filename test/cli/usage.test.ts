/** What people meet when something is wrong, and the help that tells them. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { devKeyFile } from "../../server/config.ts";
import { someOf } from "../support/random.ts";
import { useServer } from "../support/server.ts";
import { run } from "./command-line.ts";

const server = useServer();
const nobody = "http://127.0.0.1:1";
const stackTrace = /\n\s+at /;

const commands = [
  "",
  "serve",
  "demo",
  "tail",
  "publish",
  "workflow",
  "workflow create",
  "workflow list",
  "workflow tree",
  "workflow watch",
  "workflow close",
  "tenant",
  "tenant create",
  "key",
  "key create",
  "key list",
  "key revoke",
  "token",
  "token create",
  "stats",
  "events",
  "migrate",
];

test.each(someOf(commands, 8))(
  "the help of “tributary %s” has examples and tells of --json",
  async (command) => {
    const { code, stdout } = await run([...command.split(" ").filter((word) => word !== ""), "--help"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/\nExamples:\n {2}# .+\n {2}\$ /);
    expect(stdout).toContain("--json");
  },
);

test("the help of serve lists the settings", async () => {
  const { stdout } = await run(["serve", "--help"]);
  for (const name of ["PORT", "DATABASE_URL", "TRIBUTARY_ADMIN_KEY", "default 8080"]) {
    expect(stdout).toContain(name);
  }
});

const wrongs: readonly (readonly [string[], RegExp])[] = [
  [["frobnicate"], /unknown command/],
  [["tail"], /missing required argument/],
  [["tail", "nope"], /It must be a UUID/],
  [["tail", crypto.randomUUID(), "--types", "TOKEN,NOPE"], /It must be one of TOKEN/],
  [["tail", crypto.randomUUID(), "--after", "1", "--latest"], /cannot be used with/],
  [["workflow", "list", "--limit", "0"], /whole number/],
  [["workflow", "create", "x", "--meta", "novalue"], /key=value/],
  [["publish", crypto.randomUUID(), "t", "--type", "WORKFLOW_CREATED", "x"], /It must be one of/],
  [["key", "create", "acme", "--role", "ROOT"], /READ, PUBLISH, MANAGE/],
];

test.each(someOf(wrongs, 5))(
  "wrong usage: %j ends with 2 and says what is allowed",
  async (args, message) => {
    const { code, stdout, stderr } = await run(args);
    expect(code).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toMatch(message);
    expect(stderr).toContain("--help");
    expect(stderr).not.toMatch(stackTrace);
  },
);

test("no command at all shows the help and ends with 2", async () => {
  const { code, stderr } = await run([]);
  expect(code).toBe(2);
  expect(stderr).toContain("Examples:");
});

test("an address that is none is wrong usage", async () => {
  const { code, stderr } = await run(["workflow", "list"], { env: { TRIBUTARY_URL: "localhost:8080" } });
  expect(code).toBe(2);
  expect(stderr).toContain("TRIBUTARY_URL");
});

test.each([
  [["workflow", "list"]],
  [["tail", crypto.randomUUID()]],
  [["publish", crypto.randomUUID(), "t", "x"]],
  [["key", "list", "acme"]],
  [["workflow", "watch"]],
  [["events"]],
])("without a server, %j says how to get one", async (args) => {
  const { code, stdout, stderr } = await run(args, {
    env: { TRIBUTARY_URL: nobody, TRIBUTARY_API_KEY: "k" },
  });
  expect(code).toBe(1);
  expect(stdout).toBe("");
  expect(stderr).toContain(nobody);
  expect(stderr).toContain("npm start");
  expect(stderr).toContain("TRIBUTARY_URL");
  expect(stderr.trimEnd().split("\n").length).toBeLessThanOrEqual(2);
});

test("with --json an error is one object on stderr", async () => {
  const { stderr } = await run(["workflow", "list", "--json"], {
    env: { TRIBUTARY_URL: nobody, TRIBUTARY_API_KEY: "k" },
  });
  expect(JSON.parse(stderr)).toMatchObject({ kind: "error", code: "unavailable" });
});

test("without a key, or with a wrong one, the variable to set is named", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tributary-cli-"));
  const env = { TRIBUTARY_URL: server.url, DATA_DIR: folder };
  try {
    const none = await run(["workflow", "list"], { env });
    expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining("TRIBUTARY_API_KEY") });
    const wrong = await run(["workflow", "list"], { env: { ...env, TRIBUTARY_API_KEY: "trib_wrong" } });
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining("TRIBUTARY_API_KEY") });
    await writeFile(join(folder, devKeyFile), "trib_of_another_server\n");
    const foreign = await run(["workflow", "list"], { env });
    expect(foreign.stderr).toContain(join(folder, devKeyFile));
    const admin = await run(["tenant", "create", "abc"], {
      env: { ...env, TRIBUTARY_API_KEY: server.acme.key },
    });
    expect(admin.stderr).toMatch(/admin key.*\n.*TRIBUTARY_API_KEY/);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("an unknown workflow is said in one line, with exit code 1", async () => {
  const env = { TRIBUTARY_URL: server.url, TRIBUTARY_API_KEY: server.acme.key };
  const { code, stderr } = await run(["tail", crypto.randomUUID()], { env });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^✖ Workflow .+ does not exist.*\n$/);
});
