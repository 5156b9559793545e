import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { v4 as uuidv4 } from "uuid";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { Role } from "../../gen/tributary/v1/admin_service_pb.ts";
import { WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import type { TokenService } from "../../gen/tributary/v1/token_service_pb.ts";
import { readConfig } from "../../server/config.ts";
import { type RunningServer, startServer } from "../../server/main.ts";
import type { ActsOf, AuditLine } from "../../server/rpc/audit.ts";
import { adminKey, type Clients, createClients, disconnectClients, useServer } from "../support/server.ts";
import { openSession } from "../support/session-call.ts";
import { until } from "../support/until.ts";
import { codeOf } from "./codes.ts";
import { everyRpc } from "./every-rpc.ts";
import { newWorkflow } from "./trees.ts";

/** Its database is shared. */
const server = useServer();
const devKey = "trib_dev_key-of-the-tests";
const lines: AuditLine[] = [];
const instances: RunningServer[] = [];
let admin: Clients;
let acme: Clients;
let acmeKeyId: string;
let globex: Clients;
let dev: Clients;
let nobody: Clients;

beforeAll(async () => {
  const base = { DATABASE_URL: server.database.url, PORT: "0", LOG_LEVEL: "error", POOL_SIZE: "5" };
  const audit = (line: AuditLine) => lines.push(line);
  const start = async (env: Record<string, string>) => {
    instances.push(await startServer(readConfig({ ...base, ...env }), { audit }));
    return instances.at(-1)?.url ?? "";
  };
  const url = await start({ TRIBUTARY_ADMIN_KEY: adminKey });
  admin = createClients(url, adminKey);
  acme = createClients(url, server.acme.key);
  acmeKeyId = (await acme.admin.listApiKeys({})).apiKeys[0]?.apiKeyId ?? "";
  globex = createClients(url, server.globex.key);
  nobody = createClients(url, "");
  dev = createClients(await start({ TRIBUTARY_DEV_KEY: devKey }), devKey);
});
afterAll(async () => {
  for (const instance of instances) {
    disconnectClients(instance.url);
    await instance.close();
  }
});
beforeEach(() => {
  lines.length = 0;
});

/** Its lines; what it answers must not be in them. */
async function written(act: () => Promise<unknown>): Promise<AuditLine[]> {
  lines.length = 0;
  await act();
  return [...lines];
}

const byAdmin = { credential: "admin", apiKeyId: "", peer: "127.0.0.1", outcome: "OK" };
const byAcme = () => ({ ...byAdmin, credential: "api_key", apiKeyId: acmeKeyId, tenant: "acme" });

test("each act is one line that says who, what, of whom, on what and how it ended", async () => {
  const root = await newWorkflow(acme);
  const other = await newWorkflow(acme);
  const seen: Record<string, unknown> = {};
  const expected: Record<string, unknown> = {};
  const expectOne = async (act: () => Promise<unknown>, line: { act: string; [field: string]: unknown }) => {
    seen[line.act] = await written(act);
    expected[line.act] = [line];
  };
  await expectOne(
    () => admin.admin.createTenant({ slug: "audited", limits: { maxStreams: 5 }, retentionMs: 60_000n }),
    {
      ...byAdmin,
      act: "tenant.create",
      tenant: "audited",
      target: "audited",
      detail: {
        limits: {
          maxStreams: 5,
          maxSessions: 0,
          maxEventsPerSecond: 0,
          maxBytesPerSecond: 0,
          maxOpenWorkflows: 0,
        },
        retentionMs: 60_000,
        retentionEvents: 0,
      },
    },
  );
  await expectOne(() => admin.admin.updateTenant({ slug: "audited", disabled: true, retentionEvents: 7n }), {
    ...byAdmin,
    act: "tenant.update",
    tenant: "audited",
    target: "audited",
    detail: { disabled: true, retentionEvents: 7 },
  });
  let made = { apiKeyId: "", key: "" };
  await expectOne(
    async () => {
      made = await acme.admin.createApiKey({ roles: [Role.READ, Role.MANAGE], displayName: "for people" });
    },
    {
      ...byAcme(),
      act: "key.create",
      target: expect.stringMatching(/^key_/),
      detail: { roles: ["READ", "MANAGE"] },
    },
  );
  await expectOne(() => admin.admin.revokeApiKey({ apiKeyId: made.apiKeyId }), {
    ...byAdmin,
    act: "key.revoke",
    tenant: "acme",
    target: made.apiKeyId,
    detail: {},
  });
  await expectOne(() => admin.admin.rotateSigningKey({}), {
    ...byAdmin,
    act: "signing_key.rotate",
    tenant: "",
    target: expect.stringMatching(/^[0-9a-f]{16}$/),
    detail: { retireOlder: false },
  });
  let token = "";
  await expectOne(
    async () => {
      token = (await acme.tokens.createStreamToken({ workflowIds: [root, other], ttlSeconds: 60 })).token;
    },
    {
      ...byAcme(),
      act: "stream_token.create",
      target: `${root} ${other}`,
      detail: { ttlSeconds: 60, includeVariables: false },
    },
  );
  const session = await openSession(acme, root);
  const { sessions } = await acme.admin.listSessions({});
  const sessionId = sessions[0]?.sessionId ?? "";
  await expectOne(() => admin.admin.closeSession({ sessionId }), {
    ...byAdmin,
    act: "session.close",
    tenant: "acme",
    target: sessionId,
    detail: {},
  });
  session.cut();
  await expectOne(() => acme.memory.createMemorySpace({ space: "notes", retention: { maxAgeMs: 5n } }), {
    ...byAcme(),
    act: "memory_space.create",
    target: "notes",
    detail: { maxAgeMs: 5, maxObservations: 0 },
  });
  await expectOne(() => acme.memory.updateMemorySpace({ space: "notes", displayName: "Notes" }), {
    ...byAcme(),
    act: "memory_space.update",
    target: "notes",
    detail: { renamed: true },
  });
  await acme.workflows.closeWorkflow({ workflowId: other, status: WorkflowStatus.COMPLETED });
  await expectOne(() => acme.workflows.deleteWorkflowTree({ workflowId: other }), {
    ...byAcme(),
    act: "workflow_tree.delete",
    target: other,
    detail: { deletedEvents: 2 },
  });
  expect(seen).toEqual(expected);
  for (const secret of [made.key, token, server.acme.key, adminKey, "for people"])
    expect(JSON.stringify(seen)).not.toContain(secret);
});

test("each refused attempt is one line, whoever tries, with the code that the caller got", async () => {
  const workflowId = await newWorkflow(acme);
  const sessionId = uuidv4();
  await admin.admin.createTenant({ slug: "victim" });
  const victim = await admin.admin.createApiKey({ tenantSlug: "victim" });
  const attempts: [act: string, try_: (clients: Clients) => Promise<unknown>][] = [
    ["tenant.create", ({ admin }) => admin.createTenant({ slug: "acme" })],
    ["tenant.update", ({ admin }) => admin.updateTenant({ slug: "victim", disabled: true })],
    ["key.create", ({ admin }) => admin.createApiKey({ tenantSlug: "victim" })],
    ["key.revoke", ({ admin }) => admin.revokeApiKey({ apiKeyId: victim.apiKeyId })],
    ["signing_key.rotate", ({ admin }) => admin.rotateSigningKey({})],
    ["session.close", ({ admin }) => admin.closeSession({ sessionId })],
    ["workflow_tree.delete", ({ workflows }) => workflows.deleteWorkflowTree({ workflowId })],
    ["memory_space.create", ({ memory }) => memory.createMemorySpace({ space: "default" })],
    ["memory_space.update", ({ memory }) => memory.updateMemorySpace({ space: "nowhere" })],
    ["stream_token.create", ({ tokens }) => tokens.createStreamToken({ workflowIds: [workflowId] })],
  ];
  const { key, apiKeyId } = await acme.admin.createApiKey({ roles: [Role.PUBLISH] });
  const { token } = await acme.tokens.createStreamToken({ workflowIds: [workflowId] });
  const guest = {
    credential: "stream_token",
    apiKeyId: acmeKeyId,
    tenant: "acme",
    outcome: "PERMISSION_DENIED",
  };
  const callers: [Clients, object][] = [
    [nobody, { credential: "unknown", apiKeyId: "", tenant: "", target: "", outcome: "UNAUTHENTICATED" }],
    [
      createClients(acme.url, "trib_wrong"),
      { credential: "unknown", tenant: "", outcome: "UNAUTHENTICATED" },
    ],
    [createClients(acme.url, "a.b.c"), { credential: "unknown", tenant: "", outcome: "UNAUTHENTICATED" }],
    [createClients(acme.url, token), guest],
  ];
  for (const [clients, line] of callers) {
    for (const [act, attempt] of attempts) {
      const found = await written(() => codeOf(attempt(clients)));
      expect(found).toMatchObject([{ act, peer: "127.0.0.1", ...line }]);
    }
  }
  // What the request says decides: each is refused once, with the code it got.
  for (const [clients, who] of [
    [globex, { credential: "api_key" }],
    [createClients(acme.url, key), { credential: "api_key", apiKeyId }],
    [admin, { credential: "admin" }],
    [dev, { credential: "dev_key", apiKeyId: "" }],
  ] as const) {
    for (const [act, attempt] of attempts) {
      let code = "";
      const found = await written(async () => {
        code = await codeOf(attempt(clients));
      });
      const outcome = code === "OK" ? "OK" : code.replace(/(?!^)[A-Z]/g, "_$&").toUpperCase();
      expect(found, `${act} as ${JSON.stringify(who)}`).toMatchObject([{ act, ...who, outcome }]);
    }
  }
}, 60_000);

test("requests that break a rule or name too much are one line, and what they sent is bounded", async () => {
  const [line, ...more] = await written(() =>
    codeOf(admin.admin.createTenant({ slug: "x\n\u001b[2J".repeat(100_000) })),
  );
  expect(more).toEqual([]);
  expect(line).toMatchObject({ act: "tenant.create", outcome: "INVALID_ARGUMENT" });
  expect(JSON.stringify(line).length).toBeLessThan(60_000);
});

test("an act over Connect's JSON is one line, and a client that leaves before the answer does not lose it", async () => {
  const found = await written(async () => {
    const response = await fetch(`${acme.url}/tributary.v1.AdminService/CreateApiKey`, {
      method: "POST",
      headers: { authorization: `Bearer ${acme.key}`, "content-type": "application/json" },
      body: "{}",
    });
    await response.json();
  });
  expect(found).toMatchObject([{ act: "key.create", outcome: "OK" }]);
  const refused = await written(async () => {
    const headers = { "content-type": "application/json" };
    await fetch(`${acme.url}/tributary.v1.AdminService/CreateApiKey`, { method: "POST", headers, body: "{" });
  });
  expect(refused).toMatchObject([{ act: "key.create", credential: "none", outcome: "UNAUTHENTICATED" }]);
  const client = await server.pool.connect();
  try {
    await client.query("begin");
    await client.query("lock table tenant in access exclusive mode");
    const leave = new AbortController();
    const left = admin.admin.createTenant({ slug: "left" }, { signal: leave.signal }).catch(() => {});
    await until(async () => {
      const { rows } = await server.pool.query(
        "select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
      );
      expect(rows[0].n).toBeGreaterThan(0);
    });
    leave.abort();
    await left;
    lines.length = 0;
    await client.query("commit");
  } finally {
    client.release();
  }
  await until(() => expect(lines).toMatchObject([{ act: "tenant.create", target: "left" }]));
});

test("reading is no act: neither lists nor streams nor publishing leave a line", async () => {
  const workflowId = await newWorkflow(acme);
  const found = await written(async () => {
    await admin.admin.listTenants({});
    await acme.admin.listApiKeys({});
    await acme.admin.getStats({});
    await acme.streams.readEvents({ workflowId });
    await codeOf(nobody.streams.readEvents({ workflowId }));
    await codeOf(nobody.admin.listTenants({}));
  });
  expect(found).toEqual([]);
});

test("no answer of a list or a look-up has a secret, a hash or a signing key in it", async () => {
  const { rows } = await server.pool.query(
    "select encode(secret, 'base64') as a, encode(secret, 'hex') as b from signing_key union all select encode(secret_hash, 'base64'), encode(secret_hash, 'hex') from api_key",
  );
  const secrets = [adminKey, acme.key, globex.key, ...rows.flatMap(({ a, b }) => [String(a), String(b)])];
  const post = async (path: string, body = "{}") => {
    const response = await fetch(`${acme.url}/tributary.v1.${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${adminKey}`, "content-type": "application/json" },
      body,
    });
    return response.text();
  };
  const tenant = '{"tenantSlug": "acme"}';
  const answers = [
    await post("AdminService/ListTenants"),
    await post("AdminService/ListApiKeys", tenant),
    await post("AdminService/ListSessions", tenant),
    await post("AdminService/GetStats", tenant),
    await post("AdminService/RotateSigningKey"),
    await post("AdminService/RevokeApiKey", '{"apiKeyId": "key_none"}'),
    await (await fetch(`${acme.url}/metrics`)).text(),
  ];
  expect(answers[1]).toContain("apiKeyId");
  expect(secrets.length).toBeGreaterThan(6);
  for (const answer of answers) for (const secret of secrets) expect(answer).not.toContain(secret);
});

test("a mutating RPC of the administration is an act: who adds one must decide, and so must this list", async () => {
  const { acts } = await import("../../server/rpc/audit.ts");
  const named = (await everyRpc()).map(({ name, method }) => [
    name,
    acts[method.parent.typeName]?.[method.localName],
  ]);
  expect(named.flatMap(([name, act]) => (act === undefined ? [] : [name])).toSorted()).toEqual([
    "AdminService.CloseSession",
    "AdminService.CreateApiKey",
    "AdminService.CreateTenant",
    "AdminService.RevokeApiKey",
    "AdminService.RotateSigningKey",
    "AdminService.UpdateTenant",
    "MemoryService.CreateMemorySpace",
    "MemoryService.UpdateMemorySpace",
    "TokenService.CreateStreamToken",
    "WorkflowService.DeleteWorkflowTree",
  ]);
});

test("an RPC that is not said to be an act or none does not compile", () => {
  // @ts-expect-error: an RPC is missing
  const incomplete: ActsOf<typeof TokenService> = {};
  expect(incomplete).toEqual({});
});

// --- In the log of a process

const main = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));

/** What a process logs while a tenant is made and refused. */
async function logged(level: string): Promise<Record<string, unknown>[]> {
  const env = {
    DATABASE_URL: server.database.url,
    TRIBUTARY_ADMIN_KEY: adminKey,
    PORT: "0",
    LOG_LEVEL: level,
  };
  const child = spawn(process.execPath, [main, "serve"], {
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const logs: string[] = [];
  createInterface({ input: child.stderr }).on("line", (line) => logs.push(line));
  try {
    let url = "";
    for await (const line of createInterface({ input: child.stdout })) {
      url = /http:\/\/\S+/.exec(line)?.[0] ?? "";
      if (url !== "") break;
    }
    const clients = createClients(url, adminKey);
    await clients.admin.createTenant({ slug: `level-${level}` });
    await codeOf(createClients(url, server.acme.key).admin.createTenant({ slug: "mine" }));
    disconnectClients(url);
  } finally {
    child.kill("SIGTERM");
    await once(child, "exit");
  }
  return logs.map((line) => JSON.parse(line) as Record<string, unknown>);
}

test("the lines are in the log at every level but silent", async () => {
  const levels = ["info", "error", "fatal", "silent"];
  const found = await Promise.all(levels.map(logged));
  for (const [at, level] of levels.entries()) {
    const audits = found[at]?.filter(({ audit }) => audit === true);
    expect(audits, level).toMatchObject(
      level === "silent"
        ? []
        : [
            {
              level: 30,
              time: expect.any(Number),
              act: "tenant.create",
              target: `level-${level}`,
              outcome: "OK",
            },
            { level: 30, act: "tenant.create", credential: "api_key", outcome: "PERMISSION_DENIED" },
          ],
    );
    if (level !== "info")
      expect(
        found[at]?.filter(({ audit }) => audit !== true),
        level,
      ).toEqual([]);
  }
}, 60_000);
