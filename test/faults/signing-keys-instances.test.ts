/** Two instances over one Postgres: the key that signs stream tokens is replaced while both serve. */
import { SignJWT } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ClosingReason } from "../../gen/tributary/v1/event_pb.ts";
import { createMemoryBus } from "../../server/bus/memory-bus.ts";
import type { RunningServer } from "../../server/main.ts";
import { createPgTenantStore } from "../../server/store/pg-tenant-store.ts";
import { codeOf } from "../api/codes.ts";
import { sse } from "../api/sse-client.ts";
import { follow } from "../api/subscription.ts";
import { newWorkflow } from "../api/trees.ts";
import { useDatabase } from "../support/database.ts";
import { startInstance, stopInstance } from "../support/instances.ts";
import { adminKey, type Clients, createClients, createTenant, disconnectClients } from "../support/server.ts";
import { until } from "../support/until.ts";

const database = useDatabase();
const bus = createMemoryBus();
/** The second two share a bus; the third hears no news. */
const instances: RunningServer[] = [];
let admin: Clients;
let owner: Clients;
let workflowId: string;

beforeAll(async () => {
  for (const shared of [bus, bus, undefined]) instances.push(await startInstance(database.url, {}, shared));
  admin = createClients(urlOf(0), adminKey);
  owner = await createTenant(admin, "rotates");
  workflowId = await newWorkflow(owner);
});
afterAll(async () => {
  for (const instance of instances) {
    disconnectClients(instance.url);
    await stopInstance(instance);
  }
  await bus.close();
});

const urlOf = (at: number) => instances[at]?.url ?? "";
const tokenAt = async (at: number) => {
  const { tokens } = createClients(urlOf(at), owner.key);
  return (await tokens.createStreamToken({ workflowIds: [workflowId] })).token;
};
const readAt = (at: number, token: string) =>
  codeOf(createClients(urlOf(at), token).streams.readEvents({ workflowId }));
const everywhere = async (token: string) => [
  await readAt(0, token),
  await readAt(1, token),
  await readAt(2, token),
];
const headerOf = (token: string) =>
  JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString()) as { kid: string };
const kidsInTable = async (): Promise<string[]> =>
  (
    await database.pool.query("select signing_key_id as id from signing_key order by created_ms desc")
  ).rows.map(({ id }) => id);
const allOk = ["OK", "OK", "OK"];
const allRefused = ["Unauthenticated", "Unauthenticated", "Unauthenticated"];

test("a new key signs from now on, its tokens verify at once at instances that have not heard of it, and older tokens stay good", async () => {
  const before = await Promise.all([tokenAt(0), tokenAt(1), tokenAt(2)]);
  for (const token of before) expect(await everywhere(token)).toEqual(allOk);
  const made = await admin.admin.rotateSigningKey({});
  expect(made.signingKeyId).not.toBe(headerOf(before[0] ?? "").kid);
  expect(Number(made.olderEndMs - made.createdMs)).toBe(3_660_000);
  const after = await tokenAt(0);
  expect(headerOf(after).kid).toBe(made.signingKeyId);
  expect(await readAt(2, after)).toBe("OK"); // the first thing it hears of the new key
  for (const token of [after, ...before]) expect(await everywhere(token)).toEqual(allOk);
  await until(async () => expect(headerOf(await tokenAt(1)).kid).toBe(made.signingKeyId));
  await until(async () => expect(headerOf(await tokenAt(2)).kid).toBe(made.signingKeyId));
});

test("an open stream does not notice a rotation", async () => {
  const guest = createClients(urlOf(1), await tokenAt(1));
  await using reader = follow((options) => guest.streams.streamWorkflow({ workflowId }, options));
  await reader.open();
  await admin.admin.rotateSigningKey({});
  await until(async () => expect(headerOf(await tokenAt(1)).kid).toBe((await kidsInTable())[0]));
  await owner.workflows.requestCancel({ workflowId, reason: "to see something" });
  await until(() => expect(reader.events.length).toBeGreaterThan(0));
  expect(reader.closing).toBeUndefined();
});

test("older keys that are retired end their tokens and the calls opened with them, at every instance", async () => {
  const token = await tokenAt(0);
  const readers = [0, 1, 2].map((at) => {
    const { streams } = createClients(urlOf(at), token);
    return follow((options) => streams.streamWorkflow({ workflowId }, options));
  });
  await using events = await sse(
    `${urlOf(1)}/api/tenants/rotates/stream/workflows/${workflowId}?access_token=${token}`,
  );
  const keyed = follow((options) => owner.streams.streamWorkflow({ workflowId }, options));
  try {
    await Promise.all([...readers, keyed].map((reader) => reader.open()));
    await events.until(() => expect(events.names).toContain("open"));
    const began = Date.now();
    const made = await admin.admin.rotateSigningKey({ retireOlder: true });
    expect(made.olderEndMs).toBe(0n);
    expect(await kidsInTable()).toEqual([made.signingKeyId]);
    expect(await readAt(0, token)).toBe("Unauthenticated"); // at once where it was done
    await Promise.all([...readers.map((reader) => reader.end(60_000)), events.finished]);
    expect(Date.now() - began).toBeLessThan(60_000);
    expect(readers.map((reader) => reader.closing?.reason)).toEqual(readers.map(() => ClosingReason.REVOKED));
    expect(JSON.parse(events.events.at(-1)?.data ?? "{}").reason).toBe("REVOKED");
    await until(async () => expect(await everywhere(token)).toEqual(allRefused));
    expect(await everywhere(await tokenAt(0))).toEqual(allOk);
    expect(keyed.closing).toBeUndefined(); // not a token's
  } finally {
    for (const reader of [...readers, keyed]) await reader[Symbol.asyncDispose]();
  }
}, 90_000);

test("two rotations at once, each at its instance: both keys verify, one is the newest; with retiring one is left", async () => {
  const admins = [0, 1, 2].map((at) => createClients(urlOf(at), adminKey).admin);
  const made = await Promise.all(admins.map((one) => one.rotateSigningKey({})));
  const kids = await kidsInTable();
  expect(new Set(kids.slice(0, 3))).toEqual(new Set(made.map((one) => one.signingKeyId)));
  const { rows } = await database.pool.query("select count(distinct created_ms)::int as n from signing_key");
  expect(rows[0].n).toBe(kids.length);
  await until(async () => {
    for (const at of [0, 1, 2]) expect(headerOf(await tokenAt(at)).kid).toBe(kids[0]);
  });
  const retiring = await Promise.all(admins.map((one) => one.rotateSigningKey({ retireOlder: true })));
  const left = await kidsInTable();
  expect(left).toHaveLength(1);
  expect(retiring.map((one) => one.signingKeyId)).toContain(left[0]);
  await until(async () => {
    for (const at of [0, 1, 2]) expect(await everywhere(await tokenAt(at))).toEqual(allOk);
  });
});

test("a replaced key is deleted an hour and a minute after its successor was made, by the database's clock, and not before", async () => {
  const store = createPgTenantStore(database.pool);
  await admin.admin.rotateSigningKey({ retireOlder: true });
  const oldest = (await admin.admin.rotateSigningKey({})).signingKeyId;
  const newest = (await admin.admin.rotateSigningKey({})).signingKeyId;
  const age = (ms: number) =>
    database.pool.query("update signing_key set created_ms = created_ms - $1", [ms]);
  await age(3_640_000);
  await store.deleteReplacedSigningKeys(3_660_000);
  expect(await kidsInTable()).toHaveLength(3);
  await age(20_000);
  await store.deleteReplacedSigningKeys(3_660_000);
  expect(await kidsInTable()).toEqual([newest]);
  expect(oldest).not.toBe(newest);
  await age(10_000_000);
  await store.deleteReplacedSigningKeys(3_660_000);
  expect(await kidsInTable()).toEqual([newest]); // the last one stays, however old
});

test("tokens that nobody here signed are refused, and a flood of them keeps nobody else out", async () => {
  const good = await tokenAt(0);
  await until(async () => expect(await readAt(2, good)).toBe("OK"));
  const [, body = ""] = good.split(".");
  const { kid } = headerOf(good);
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = JSON.parse(Buffer.from(body, "base64url").toString());
  const sign = (header: object, secret: Uint8Array) =>
    new SignJWT(claims).setProtectedHeader({ alg: "HS256", typ: "JWT", ...header }).sign(secret);
  const forged = [
    await sign({ kid }, Buffer.alloc(32)),
    await sign({ kid }, Buffer.from(kid)), // the public part as the secret
    await sign({ kid: "f".repeat(16) }, Buffer.alloc(32)),
    await sign({ kid: "../../etc/passwd" }, Buffer.alloc(32)),
    await sign({ kid: "x'; drop table signing_key; --" }, Buffer.alloc(32)),
    await sign({}, Buffer.alloc(32)),
    ...["none", "None", "HS384", "RS256", "ES256", "EdDSA"].map(
      (alg) => `${part({ alg, kid, typ: "JWT" })}.${body}.${good.split(".")[2]}`,
    ),
    `${part({ alg: "none", kid })}.${body}.`,
    `${part({ alg: "HS256", kid, typ: "JWT", jwk: { kty: "oct", k: "AAAA" } })}.${body}.${part("x")}`,
  ];
  for (const token of forged) expect(await readAt(2, token), token).toBe("Unauthenticated");
  const flood = Array.from({ length: 400 }, async (_, i) =>
    readAt(2, await sign({ kid: i.toString(16).padStart(16, "f") }, Buffer.alloc(32))),
  );
  const among = Array.from({ length: 20 }, () => readAt(2, good));
  expect(new Set(await Promise.all(among))).toEqual(new Set(["OK"]));
  expect(new Set(await Promise.all(flood))).toEqual(new Set(["Unauthenticated"]));
});

test("more rotations than an hour has room for are refused with the remedy, and retiring makes room", async () => {
  await admin.admin.rotateSigningKey({ retireOlder: true });
  for (let i = 1; i < 32; i++) await admin.admin.rotateSigningKey({});
  await expect(admin.admin.rotateSigningKey({})).rejects.toThrow(/32 signing keys.*retire_older/);
  expect(await kidsInTable()).toHaveLength(32);
  await admin.admin.rotateSigningKey({ retireOlder: true });
  expect(await kidsInTable()).toHaveLength(1);
}, 30_000);
