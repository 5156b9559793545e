/**
 * Every RPC and route × kind of credential × set of roles × whose ids, against the table in access-table.ts. The requests come
 * from the descriptors, so an RPC that is new is in the matrix, and fails it until the table has it.
 */
import { createHmac, randomBytes } from "node:crypto";
import type { Interceptor, Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { v4 as uuidv4 } from "uuid";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AdminService, Role } from "../../gen/tributary/v1/admin_service_pb.ts";
import { assertComplete, routeRules, ruleOf } from "../../server/auth/access-rules.ts";
import type { RunningServer } from "../../server/main.ts";
import { services } from "../../server/rpc/services.ts";
import { startInstance, stopInstance } from "../support/instances.ts";
import { someOf } from "../support/random.ts";
import {
  adminKey,
  type Clients,
  createClients,
  createTenant,
  disconnectClients,
  useServer,
} from "../support/server.ts";
import { openSession } from "../support/session-call.ts";
import { until } from "../support/until.ts";
import {
  type Access,
  accessTable,
  listsNothing,
  namedBy,
  type RoleName,
  routeTable,
  unknownOutcome,
} from "./access-table.ts";
import { call, everyRpc, type Rpc, requestFor, type Subjects } from "./every-rpc.ts";
import { sse } from "./sse-client.ts";
import { newSession, newWorkflow, publish, remember, token } from "./trees.ts";

const server = useServer();
const rpcs = await everyRpc();
const devKey = "trib_dev_the-key-of-the-matrix";
let development: RunningServer;

/** Whose the ids in a request are. */
type Ids = "own" | "foreign" | "unknown";
const whose: readonly Ids[] = ["own", "foreign", "unknown"];

type Kind =
  /** Good for nothing. */
  | { readonly kind: "invalid" }
  | { readonly kind: "key"; readonly roles: readonly RoleName[] }
  /** "beside": of another workflow of the tenant. */
  | { readonly kind: "token"; readonly of: "own" | "beside" | "foreign" }
  | { readonly kind: "admin" };

interface Credential {
  readonly name: string;
  readonly is: Kind;
  readonly authorization: string | undefined;
}

let credentials: Credential[];
const subjects = {} as Record<Ids, Subjects>;

const roleNames: readonly RoleName[] = ["READ", "PUBLISH", "MANAGE"];
const roleSets: readonly (readonly RoleName[])[] = Array.from({ length: 7 }, (_, i) =>
  roleNames.filter((_name, bit) => ((i + 1) & (1 << bit)) !== 0),
);
const numbers = (roles: readonly RoleName[]) => roles.map((name) => Role[name]);

/** What these RPCs do to their subject they do to one of its own. */
const ending = [
  "CloseWorkflow",
  "RequestCancel",
  "DeleteWorkflowTree",
  "RevokeApiKey",
  "CloseSession",
  "DeleteVariable",
];

async function subjectsOf(clients: Clients, tenantSlug: string): Promise<Subjects> {
  const workflowId = await newWorkflow(clients);
  const sessionId = await newSession(clients, workflowId);
  const value = { kind: { case: "numberValue" as const, value: 1 } };
  await clients.variables.setVariable({ workflowId, assignment: { name: "a", value } });
  const { apiKeyId } = await clients.admin.createApiKey({ displayName: "spare" });
  return { workflowId, tenantSlug, apiKeyId, sessionId };
}

beforeAll(async () => {
  const { admin, acme, globex } = server;
  subjects.own = await subjectsOf(acme, "acme");
  subjects.foreign = await subjectsOf(globex, "globex");
  subjects.unknown = {
    workflowId: uuidv4(),
    tenantSlug: "nobody",
    apiKeyId: "key_none",
    sessionId: uuidv4(),
  };
  await remember(acme);

  const tokenFor = async (clients: Clients, workflowId: string, ttlSeconds = 900) =>
    (
      await clients.tokens.createStreamToken({
        workflowIds: [workflowId],
        ttlSeconds,
        includeVariables: true,
      })
    ).token;
  const keyWith = (roles: readonly RoleName[], tenantSlug = "acme") =>
    admin.admin.createApiKey({ tenantSlug, roles: numbers(roles) });
  const { workflowId } = subjects.own;

  const retired = await tokenFor(acme, workflowId);
  await admin.admin.rotateSigningKey({ retireOlder: true });
  const revoked = await keyWith(roleNames);
  const ofRevoked = await tokenFor(createClients(server.url, revoked.key), workflowId);
  await admin.admin.revokeApiKey({ apiKeyId: revoked.apiKeyId });
  const disabled = await createTenant(admin, "disabled");
  const ofDisabled = await tokenFor(disabled, await newWorkflow(disabled));
  await admin.admin.updateTenant({ slug: "disabled", disabled: true });
  const expired = await tokenFor(acme, workflowId, 1);
  const good = await tokenFor(acme, workflowId);
  const [header = "", body = "", signature = ""] = good.split(".");
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const bySomebody = createHmac("sha256", randomBytes(32)).update(`${header}.${body}`).digest("base64url");

  const invalid = (name: string, authorization: string | undefined): Credential => ({
    name,
    is: { kind: "invalid" },
    authorization,
  });
  credentials = [
    invalid("no credential", undefined),
    invalid("a malformed header", `Basic ${acme.key}`),
    invalid("nonsense", "Bearer nonsense"),
    invalid("an unknown key", `Bearer trib_${randomBytes(32).toString("base64url")}`),
    invalid("a revoked key", `Bearer ${revoked.key}`),
    invalid("a key of a disabled tenant", `Bearer ${disabled.key}`),
    invalid("a token of a disabled tenant", `Bearer ${ofDisabled}`),
    invalid("a token made with a revoked key", `Bearer ${ofRevoked}`),
    invalid("an expired token", `Bearer ${expired}`),
    invalid("a token of a retired signing key", `Bearer ${retired}`),
    invalid("a token that somebody else signed", `Bearer ${header}.${body}.${bySomebody}`),
    invalid("a token without a signature", `Bearer ${part({ alg: "none", typ: "JWT" })}.${body}.`),
    invalid(
      "a token under another algorithm",
      `Bearer ${part({ ...JSON.parse(Buffer.from(header, "base64url").toString()), alg: "RS256" })}.${body}.${signature}`,
    ),
    invalid("the key of development mode elsewhere", `Bearer ${devKey}`),
    ...(await Promise.all(
      roleSets.map(async (roles) => ({
        name: `a key with ${roles.join(", ")}`,
        is: { kind: "key", roles } as const,
        authorization: `Bearer ${(await keyWith(roles)).key}`,
      })),
    )),
    { name: "a token", is: { kind: "token", of: "own" }, authorization: `Bearer ${good}` },
    {
      name: "a token of another workflow",
      is: { kind: "token", of: "beside" },
      authorization: `Bearer ${await tokenFor(acme, await newWorkflow(acme))}`,
    },
    {
      name: "a token of another tenant",
      is: { kind: "token", of: "foreign" },
      authorization: `Bearer ${await tokenFor(globex, subjects.foreign.workflowId)}`,
    },
    { name: "the admin key", is: { kind: "admin" }, authorization: `Bearer ${adminKey}` },
  ];
  development = await startInstance(server.database.url, {
    TRIBUTARY_ADMIN_KEY: "",
    TRIBUTARY_DEV_KEY: devKey,
  });
  const { streams } = createClients(server.url, expired);
  await until(async () => {
    const [code] = await Promise.allSettled([streams.readEvents({ workflowId })]);
    expect(code?.status).toBe("rejected");
  });
}, 60_000);
afterAll(async () => {
  disconnectClients(development.url);
  await stopInstance(development);
});

// --- What the table says

function expected(rpc: Rpc, is: Kind, ids: Ids): string {
  const access = accessTable[rpc.name];
  if (access === undefined) return "no row in the table";
  if (is.kind === "invalid") return "Unauthenticated";
  if (!mayCall(access, is)) return "PermissionDenied";
  const named = namedBy(rpc.method);
  if (named === "nothing") return "OK";
  if (is.kind === "token" && ids !== "unknown") return is.of === ids ? "OK" : "PermissionDenied";
  if (ids === "own") return "OK";
  if (is.kind === "admin" && ids === "unknown" && listsNothing.includes(rpc.name)) return "OK";
  if (is.kind === "admin") return ids === "foreign" ? "OK" : unknownOutcome[named].admin;
  return ids === "foreign" ? "PermissionDenied" : unknownOutcome[named].tenant;
}

function mayCall(access: Access, is: Exclude<Kind, { kind: "invalid" }>): boolean {
  switch (is.kind) {
    case "admin":
      return access.admin === true;
    case "token":
      return access.token === true;
    case "key":
      return access.role !== undefined && is.roles.includes(access.role);
  }
}

// --- What the server says

type MakeTransport = (options: { baseUrl: string; interceptors: Interceptor[] }) => Transport;
const protocols: Readonly<Record<string, MakeTransport>> = {
  gRPC: createGrpcTransport,
  "gRPC-Web": (options) => createGrpcWebTransport({ ...options, httpVersion: "2" }),
  Connect: (options) => createConnectTransport({ ...options, httpVersion: "2" }),
};

function transportWith(
  make: MakeTransport,
  authorization: string | undefined,
  baseUrl = server.url,
): Transport {
  const sendIt: Interceptor = (next) => (request) => {
    if (authorization !== undefined) request.header.set("authorization", authorization);
    return next(request);
  };
  return make({ baseUrl, interceptors: [sendIt] });
}

/** Asks with subjects that may be ended: those that the call may get at are made for it alone. */
async function ask(transport: Transport, rpc: Rpc, is: Kind, ids: Ids): Promise<string> {
  let named = subjects[ids];
  const { name } = rpc.method;
  if (ending.includes(name) && expected(rpc, is, ids) === "OK") {
    named = await subjectsOf(ids === "own" ? server.acme : server.globex, named.tenantSlug);
    if (name === "DeleteWorkflowTree") {
      await server.acme.workflows.closeWorkflow({ workflowId: named.workflowId, status: 2 });
    }
  }
  return call(transport, rpc, { ...requestFor(rpc.method, named), ...fitting(rpc) });
}

let made = 0;
/** What the request needs beside its subjects in order to succeed. */
function fitting({ method }: Rpc): Record<string, unknown> {
  if (method.name === "CreateTenant") return { slug: `made-${++made}` };
  if (method.name === "CreateMemorySpace") return { space: `made-${++made}` };
  return {};
}

async function matrix(make: MakeTransport, among: readonly Ids[]) {
  const wanted: Record<string, string> = {};
  const found: Record<string, string> = {};
  for (const { name, is, authorization } of credentials) {
    const transport = transportWith(make, authorization);
    for (const ids of among) {
      await Promise.all(
        rpcs.map(async (rpc) => {
          const cell = `${rpc.name} with ${name}, ${ids} ids`;
          wanted[cell] = expected(rpc, is, ids);
          found[cell] = await ask(transport, rpc, is, ids);
        }),
      );
    }
  }
  return { wanted, found };
}

const differences = ({ wanted, found }: { wanted: Record<string, string>; found: Record<string, string> }) =>
  Object.keys(wanted)
    .filter((cell) => wanted[cell] !== found[cell])
    .map((cell) => `${cell}: ${found[cell]}, not ${wanted[cell]}`);

test.each(someOf(Object.entries(protocols), 1))(
  "over %s every cell of the matrix answers as the table says",
  async (_name, make) => {
    const cells = await matrix(make, whose);
    expect(Object.keys(cells.wanted).length).toBe(rpcs.length * credentials.length * whose.length);
    expect(differences(cells)).toEqual([]);
  },
  120_000,
);

test("the routes of Server-Sent Events answer as the table says", async () => {
  const wrong: string[] = [];
  const statuses = { Unauthenticated: 401, PermissionDenied: 403, NotFound: 404, OK: 200 };
  for (const [rest, access] of Object.entries(routeTable)) {
    for (const { name, is, authorization } of credentials) {
      for (const ids of whose) {
        for (const slug of ["acme", "globex", "nobody"]) {
          const url = `${server.url}/api/tenants/${slug}/stream/workflows/${subjects[ids].workflowId}${rest}`;
          const ownTenant = name === "a token of another tenant" ? "globex" : "acme";
          const code =
            is.kind === "invalid"
              ? "Unauthenticated"
              : !mayCall(access, is) || slug !== ownTenant
                ? "PermissionDenied"
                : ownTenant === "globex"
                  ? ids === "own"
                    ? "PermissionDenied"
                    : ids === "foreign"
                      ? "OK"
                      : "NotFound"
                  : ids === "foreign" || (is.kind === "token" && is.of !== ids && ids === "own")
                    ? "PermissionDenied"
                    : ids === "unknown"
                      ? "NotFound"
                      : "OK";
          await using answer = await sse(url, {
            headers: authorization === undefined ? {} : { authorization },
          });
          if (answer.status !== statuses[code])
            wrong.push(
              `${rest} of ${slug} with ${name}, ${ids} ids: ${answer.status}, not ${statuses[code]}`,
            );
        }
      }
      const secret = authorization?.replace("Bearer ", "") ?? "";
      const url = `${server.url}/api/tenants/acme/stream/workflows/${subjects.own.workflowId}${rest}?access_token=${encodeURIComponent(secret)}`;
      await using inQuery = await sse(url);
      // Only tokens may be in an address.
      const wanted = is.kind !== "token" ? 401 : is.of === "own" ? 200 : 403;
      if (inQuery.status !== wanted)
        wrong.push(`${rest}?access_token= with ${name}: ${inQuery.status}, not ${wanted}`);
    }
  }
  expect(wrong).toEqual([]);
}, 60_000);

test("in development mode its key is one with all roles, and the admin key of elsewhere is none", async () => {
  const dev = createClients(development.url, devKey);
  const own = await subjectsOf(dev, "dev");
  await remember(dev);
  const is: Kind = { kind: "key", roles: roleNames };
  const byKey = transportWith(createGrpcTransport, `Bearer ${devKey}`, development.url);
  const byAdmin = transportWith(createGrpcTransport, `Bearer ${adminKey}`, development.url);
  const found: Record<string, string> = {};
  const wanted: Record<string, string> = {};
  for (const rpc of rpcs.filter(({ method }) => !ending.includes(method.name))) {
    for (const [ids, named] of [
      ["own", own],
      ["foreign", subjects.own],
      ["unknown", subjects.unknown],
    ] as const) {
      const cell = `${rpc.name}, ${ids} ids`;
      wanted[cell] = expected(rpc, is, ids);
      found[cell] = await call(byKey, rpc, { ...requestFor(rpc.method, named), ...fitting(rpc) });
    }
    wanted[`${rpc.name} by the admin key`] = "Unauthenticated";
    found[`${rpc.name} by the admin key`] = await call(byAdmin, rpc, requestFor(rpc.method, own));
  }
  expect(differences({ wanted, found })).toEqual([]);
}, 60_000);

describe("in calls that take many messages each is judged", () => {
  test("an entry that names another tenant's workflow is refused, in a session and in a stream of events", async () => {
    const { workflowId } = subjects.own;
    const session = await openSession(server.acme, workflowId);
    await session.opened();
    session.events(1, [token(subjects.foreign.workflowId, "x")]);
    await until(() => expect(session.all("rejected")).toMatchObject([{ sequence: 1n }]));
    session.cut();
    const before = await server.globex.streams.readEvents({ workflowId: subjects.foreign.workflowId });
    const both = [token(workflowId, "x"), token(subjects.foreign.workflowId, "x")];
    await publish(server.acme, both, { batch: 1 }).catch(() => {}); // how it ends is the business of other tests
    const after = await server.globex.streams.readEvents({ workflowId: subjects.foreign.workflowId });
    expect(after.events).toEqual(before.events);
  });

  test("MemoryFlow of a key that may not read remembers, and its recalls are refused", async () => {
    const { key } = await server.admin.admin.createApiKey({ tenantSlug: "acme", roles: [Role.PUBLISH] });
    async function* operations() {
      yield {
        operation: {
          case: "recall" as const,
          value: { label: "r", request: { cue: { cue: { case: "text" as const, value: "c" } } } },
        },
      };
      await new Promise(() => {}); // the call is left by its reader
    }
    const leave = new AbortController();
    const { memory } = createClients(server.url, key);
    for await (const { message } of memory.memoryFlow(operations(), { signal: leave.signal })) {
      expect(message).toMatchObject({ case: "recall", value: { label: "r" } });
      if (message.case === "recall") {
        expect(message.value.result).toMatchObject({ case: "error", value: { code: "permission_denied" } });
      }
      break;
    }
    leave.abort();
  });
});

describe("an RPC without a rule", () => {
  const [first] = AdminService.methods;
  const more = { ...first, name: "ReadEverything", localName: "readEverything" };
  const grown = { ...AdminService, methods: [...AdminService.methods, more] } as typeof AdminService;

  test("stops the start, with its name and the place to add one", () => {
    expect(() => assertComplete(services)).not.toThrow();
    expect(() => assertComplete([...services, grown])).toThrow(
      /no access rule for tributary\.v1\.AdminService\/ReadEverything; add one to server\/auth\/access-rules\.ts/,
    );
  });

  test("and a rule without an RPC does too, since it may be one that was misspelt", () => {
    const fewer = { ...AdminService, methods: AdminService.methods.slice(1) } as typeof AdminService;
    const without = services.map((service) => (service === AdminService ? fewer : service));
    expect(() => assertComplete(without)).toThrow(/CreateTenant.*no such RPC/);
  });

  test("every RPC and route of the server has a row in the table, and the server's own rules say the same", () => {
    expect(Object.keys(accessTable).toSorted()).toEqual(rpcs.map(({ name }) => name).toSorted());
    const plain = (access: Access) => ({
      role: access.role && Role[access.role],
      token: access.token,
      admin: access.admin,
    });
    for (const { name, method } of rpcs) {
      const { role, token, admin } = ruleOf(method.parent.typeName, method.name) as ReturnType<typeof plain>;
      expect({ role, token, admin }, name).toEqual(plain(accessTable[name] ?? {}));
    }
    // Those of everybody have tests of their own, and the key of development mode goes to its own page alone (test/web/development).
    const { sse, ...others } = routeRules;
    expect(Object.keys(others).toSorted()).toEqual(["console", "consoleSession", "health", "metrics"]);
    expect(new Set(Object.values(others))).toEqual(new Set(["anyone"]));
    expect(sse).not.toBe("anyone");
  });
});
