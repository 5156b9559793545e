/** Every command that asks a server something, once as text and once as JSON; of the longer ones each run takes some. */
import { beforeAll, expect, test } from "vitest";
import { rotate } from "../support/rotating.ts";
import { adminKey, useServer } from "../support/server.ts";
import { run } from "./command-line.ts";

/** Each starts the command several times. */
const some = rotate(3);

const server = useServer();
const env = () => ({ TRIBUTARY_URL: server.url, TRIBUTARY_API_KEY: server.acme.key });
const adminEnv = () => ({ TRIBUTARY_URL: server.url, TRIBUTARY_API_KEY: adminKey });
const tributary = (...args: string[]) => run(args, { env: env() });
const asAdmin = (...args: string[]) => run(args, { env: adminEnv() });

const uuid = /^[0-9a-f-]{36}$/;
let root: string;
let child: string;

beforeAll(async () => {
  root = (await tributary("workflow", "create", "report")).stdout.trim();
  child = (await tributary("workflow", "create", "chapter", "--parent", root)).stdout.trim();
});

test("workflow create prints the id alone", () => {
  expect(root).toMatch(uuid);
  expect(child).toMatch(uuid);
});

test("workflow create takes an id and metadata, and repeating it is safe", async () => {
  const id = crypto.randomUUID();
  const args = ["workflow", "create", "named", "--id", id, "--meta", "a=1", "--meta", "b=x=y", "--json"];
  const [first, second] = [await tributary(...args), await tributary(...args)];
  expect(first.objects).toMatchObject([
    { workflowId: id, name: "named", status: "RUNNING", metadata: { a: "1", b: "x=y" }, depth: 0 },
  ]);
  expect(second.objects).toEqual(first.objects);
});

test("workflow list shows a table, and follows pages up to the limit", async () => {
  const all = await tributary("workflow", "list", "--name", "chapter");
  expect(all.stdout).toMatch(/^WORKFLOW +STATUS +CREATED +OPEN +DEPTH +NAME\n/);
  expect(all.stdout).toMatch(new RegExp(`\n${child}  ● running .* 1 +1  chapter\n$`));
  const some = await tributary("workflow", "list", "--limit", "1", "--json");
  expect(some.objects).toHaveLength(1);
  expect(some.stderr).toContain("There are more than 1");
  const roots = await tributary("workflow", "list", "--roots", "--status", "running", "--json");
  expect(roots.objects.map(({ workflowId }) => workflowId)).toContain(root);
  expect(roots.objects.map(({ workflowId }) => workflowId)).not.toContain(child);
});

test("workflow tree draws who is whose child", async () => {
  const { stdout } = await tributary("workflow", "tree", root);
  expect(stdout).toMatch(/● report +running/);
  expect(stdout).toMatch(/└─ ● chapter +running/);
  const { objects } = await tributary("workflow", "tree", root, "--json");
  expect(objects).toMatchObject([{ workflowId: root }, { workflowId: child, parentWorkflowId: root }]);
});

some.add("workflow close closes, also its descendants", async () => {
  const top = (await tributary("workflow", "create", "to close")).stdout.trim();
  const below = (await tributary("workflow", "create", "below", "--parent", top)).stdout.trim();
  const failed = await tributary(
    ...["workflow", "close", top, "--status", "FAILED", "--descendants", "--payload", '{"why":1}'],
  );
  expect(failed.stdout).toBe("✖ to close failed at offset 4\n");
  const { objects } = await tributary("workflow", "tree", top, "--json");
  expect(objects).toMatchObject([{ status: "FAILED" }, { workflowId: below, status: "CANCELLED" }]);
  const again = await tributary("workflow", "close", top, "--status", "FAILED", "--json");
  expect(again.objects).toMatchObject([{ offset: 4, workflow: { status: "FAILED" } }]);
  const otherwise = await tributary("workflow", "close", top);
  expect(otherwise.code).toBe(1);
  expect(otherwise.stderr).toMatch(/^✖ .+\n$/);
});

some.add("publish takes a payload, or the lines of stdin", async () => {
  const id = (await tributary("workflow", "create", "published")).stdout.trim();
  expect((await tributary("publish", id, "t", "Hello")).stdout).toBe(
    "accepted 1, duplicates 0, last offset 2\n",
  );
  const lines = await run(["publish", id, "t", "--json"], { env: env(), input: "a\r\nb\n\nc" });
  expect(lines.objects).toEqual([{ accepted: 4, duplicates: 0, lastOffset: 6 }]);
  const { events } = await server.acme.streams.readEvents({ workflowId: id, cursor: 1n });
  expect(events.map(({ payload }) => payload.value)).toEqual(["Hello", "a", "b", "", "c"]);
});

some.add("publish with a producer is safe to repeat", async () => {
  const id = (await tributary("workflow", "create", "repeated")).stdout.trim();
  const args = ["publish", id, "t", "--type", "DATA", "--producer", "p", "--json"];
  const input = Array.from({ length: 2500 }, (_, at) => `{"n":${at}}\n`).join("");
  const first = await run(args, { env: env(), input });
  expect(first.objects).toEqual([{ accepted: 2500, duplicates: 0, lastOffset: 2501 }]);
  const second = await run(args, { env: env(), input: `${input}{"n":"new"}\n` });
  expect(second.objects).toMatchObject([{ accepted: 1, duplicates: 2500, lastOffset: 2502 }]);
});

some.add("publish says how far it came when an event is refused", async () => {
  const id = (await tributary("workflow", "create", "refused")).stdout.trim();
  const input = `fine\n${"x".repeat(1024 * 1024 + 1)}\nnever\n`;
  const { code, stderr } = await run(["publish", id, "t"], { env: env(), input });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^✖ Event 2: .+\n {2}1 before it is stored\.\n$/);
  expect((await tributary("publish", id, "t", "--type", "completed")).code).toBe(0);
  const late = await tributary("publish", id, "t", "late");
  expect(late.code).toBe(1);
  expect(late.stderr).toContain("terminal event");
});

some.add(
  "tenant create, key create, key list and key revoke, from an admin to a tenant that works",
  async () => {
    expect((await asAdmin("tenant", "create", "initech", "--name", "Initech")).stdout).toContain("initech");
    const other = await asAdmin("tenant", "create", "hooli-1", "--json");
    expect(other.objects).toMatchObject([{ slug: "hooli-1", disabled: false }]);
    const made = await asAdmin("key", "create", "initech", "--role", "READ", "--role", "PUBLISH");
    const key = made.stdout.trim();
    expect(key).toMatch(/^trib_\S+$/);
    expect(made.stderr).toMatch(/key_\S+/);
    const works = { env: { TRIBUTARY_URL: server.url, TRIBUTARY_API_KEY: key } };
    expect((await run(["workflow", "create", "theirs"], works)).stdout.trim()).toMatch(uuid);

    const [object] = (await asAdmin("key", "create", "initech", "--role", "read", "--json")).objects;
    expect(object).toMatchObject({ key: expect.stringMatching(/^trib_/) });
    const keyId = String(object?.["apiKeyId"]);
    const revoked = await asAdmin("key", "revoke", keyId);
    expect(revoked.stdout).toContain(`Revoked ${keyId} of initech`);
    const { stdout } = await asAdmin("key", "list", "initech");
    expect(stdout).toMatch(/^KEY +ROLES +CREATED +STATE +NAME\n/);
    expect(stdout).toMatch(new RegExp(`${keyId} +READ .* revoked`));
    expect(stdout).toMatch(/READ PUBLISH .* valid/);
    const { objects } = await asAdmin("key", "list", "initech", "--json");
    expect(objects).toMatchObject([{ apiKeyId: keyId, roles: ["READ"] }, { roles: ["READ", "PUBLISH"] }]);
  },
);

some.add("token create prints a token that reads the tree and nothing else", async () => {
  const made = await tributary("token", "create", root, child, "--ttl", "60");
  const guest = { TRIBUTARY_URL: server.url, TRIBUTARY_API_KEY: made.stdout.trim() };
  expect(made.stderr).toContain("Valid until");
  expect((await run(["workflow", "tree", root], { env: guest })).stdout).toContain("report");
  const refused = await run(["workflow", "create", "no"], { env: guest });
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain("TRIBUTARY_API_KEY");
  const json = await tributary("token", "create", root, "--variables", "--json");
  expect(json.objects).toMatchObject([{ token: expect.any(String), expiresMs: expect.any(Number) }]);
});

some.take();

test("names with control characters cannot reach the terminal", async () => {
  await tributary("workflow", "create", "evil \u001b]0;title\u0007\u001b[2J name");
  const { stdout } = await tributary("workflow", "list", "--name", "evil");
  expect(stdout).toContain("evil");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
});
