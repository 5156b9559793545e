/** Sessions as administrators see and end them, and who may write by a session at all. */
import { describe, expect, test } from "vitest";
import { Role, type Session } from "../../gen/tributary/v1/admin_service_pb.ts";
import { AckLevel } from "../../gen/tributary/v1/event_pb.ts";
import { SessionClosedReason, SessionState } from "../../gen/tributary/v1/session_pb.ts";
import { type Clients, createTenant, useServer } from "../support/server.ts";
import { openSession } from "../support/session-call.ts";
import { holdStreams } from "../support/stream-lock.ts";
import { until } from "../support/until.ts";
import { codeOf } from "./codes.ts";
import { begin, stored, texts } from "./session-world.ts";
import { newWorkflow } from "./trees.ts";

const server = useServer();
type List = Parameters<Clients["admin"]["listSessions"]>[0];

async function pagesOf({ admin }: Clients, request: List): Promise<Session[][]> {
  const pages: Session[][] = [];
  for (let pageToken = ""; ; ) {
    const { sessions, nextPageToken } = await admin.listSessions({ ...request, pageToken });
    pages.push(sessions);
    if (nextPageToken === "") return pages;
    pageToken = nextPageToken;
  }
}
const keyOf = async (...roles: Role[]) => {
  const { key } = await server.admin.admin.createApiKey({ tenantSlug: "acme", roles });
  return server.clients(key);
};

describe("ListSessions", () => {
  test("shows what the registry knows of each session", async () => {
    const before = BigInt(Date.now()) - 1000n;
    const { workflowId, call, sessionId } = await begin(server.acme);
    call.batch(1, texts(3));
    await call.durable(3);
    const [session] = (await server.acme.admin.listSessions({ sessionId: sessionId.toUpperCase() })).sessions;
    expect(session).toMatchObject({
      sessionId,
      tenantSlug: "acme",
      workflowId,
      space: "",
      state: SessionState.ACTIVE,
      lastSequence: 3n,
      epoch: 1n,
    });
    const { createdMs = 0n, lastActivityMs = 0n, leaseExpiresMs = 0n } = session ?? {};
    expect(createdMs).toBeGreaterThan(before);
    expect(lastActivityMs).toBeGreaterThanOrEqual(createdMs);
    expect(leaseExpiresMs).toBeGreaterThan(createdMs + 200_000n);
  });

  test("goes through all by pages, newest first, each once", async () => {
    const pager = await createTenant(server.admin, "pager");
    const workflowId = await newWorkflow(pager);
    const ids: string[] = [];
    for (let i = 0; i < 7; i++)
      ids.unshift((await (await openSession(pager, workflowId)).opened()).sessionId);
    for (const [clients, request] of [
      [pager, {}],
      [pager, { tenantSlug: "pager" }],
      [server.admin, { tenantSlug: "pager" }],
    ] as const) {
      for (const [pageSize, sizes] of [
        [3, [3, 3, 1]],
        [1000, [7]],
        [0, [7]],
      ] as const) {
        const pages = await pagesOf(clients, { ...request, pageSize });
        expect(pages.flat().map(({ sessionId }) => sessionId)).toEqual(ids);
        expect(pages.map(({ length }) => length).filter((length) => length > 0)).toEqual(sizes);
      }
    }
    const pages = await pagesOf(pager, { pageSize: 1 });
    expect(pages.flat().map(({ sessionId }) => sessionId)).toEqual(ids);
  });

  test("filters by state, by pages too, and by tenant", async () => {
    const states = await createTenant(server.admin, "states");
    const workflowId = await newWorkflow(states);
    const calls = await Promise.all([0, 1, 2, 3, 4, 5].map(() => openSession(states, workflowId)));
    const ids = await Promise.all(calls.map(async (call) => (await call.opened()).sessionId));
    for (const call of calls.slice(0, 2)) {
      call.say("close", { drain: true });
      await call.closed();
    }
    for (const call of calls.slice(2, 4)) {
      call.halfClose();
      await call.closed();
    }
    const of = async (clients: Clients, state: SessionState) =>
      (await pagesOf(clients, { state, tenantSlug: "states", pageSize: 1 }))
        .flat()
        .map(({ sessionId }) => sessionId)
        .sort();
    for (const clients of [states, server.admin]) {
      await until(async () =>
        expect(await of(clients, SessionState.DETACHED)).toEqual(ids.slice(2, 4).sort()),
      );
      expect(await of(clients, SessionState.CLOSED)).toEqual(ids.slice(0, 2).sort());
      expect(await of(clients, SessionState.ACTIVE)).toEqual(ids.slice(4).sort());
      expect(await of(clients, SessionState.PAUSED)).toEqual([]);
    }
  });

  test("shows a tenant its own alone, and refuses what is malformed", async () => {
    const { sessionId } = await begin(server.acme);
    const codes = async (clients: Clients, request: List) => codeOf(clients.admin.listSessions(request));
    expect((await server.globex.admin.listSessions({ pageSize: 1000 })).sessions).toEqual([]);
    expect(
      (await server.globex.admin.listSessions({ sessionId }).catch(() => ({ sessions: [] }))).sessions,
    ).toEqual([]);
    expect(await codes(server.globex, { tenantSlug: "acme" })).toBe("PermissionDenied");
    expect(await codes(server.admin, { pageSize: 1001 })).toBe("InvalidArgument");
    expect(await codes(server.admin, { pageToken: "no-token" })).toBe("InvalidArgument");
    expect(await codes(server.admin, { sessionId: "no-uuid" })).toBe("InvalidArgument");
    expect(await codes(server.admin, { state: 99 as SessionState })).toBe("InvalidArgument");
    expect(await codes(await keyOf(Role.READ, Role.PUBLISH), {})).toBe("PermissionDenied");
    expect(await codes(await keyOf(Role.MANAGE), {})).toBe("OK");
  });

  test("does not take a page's token of another tenant as a way in", async () => {
    for (let i = 0; i < 3; i++) await begin(server.acme);
    const { nextPageToken } = await server.acme.admin.listSessions({ pageSize: 1 });
    expect(nextPageToken).not.toBe("");
    const stolen = await server.globex.admin
      .listSessions({ pageToken: nextPageToken })
      .catch(() => ({ sessions: [] as Session[] }));
    expect(stolen.sessions.filter(({ tenantSlug }) => tenantSlug !== "globex")).toEqual([]);
  });
});

describe("CloseSession", () => {
  test("ends an attached session: its client hears ADMIN as the last message, and it is over", async () => {
    const { workflowId, call, sessionId } = await begin(server.acme);
    call.batch(1, texts(3));
    await call.durable(3);
    const { session } = await server.acme.admin.closeSession({ sessionId: sessionId.toUpperCase() });
    expect(session).toMatchObject({ sessionId, state: SessionState.CLOSED, lastSequence: 3n, workflowId });
    expect(await call.closed()).toMatchObject({
      reason: SessionClosedReason.ADMIN,
      finalSequence: 3n,
      lastOffset: 4n,
    });
    expect(await codeOf(openSession(server.acme, workflowId, { sessionId }))).toBe("FailedPrecondition");
  });

  test("while entries wait: what is stored is what the answer and SessionClosed say", async () => {
    const { workflowId, call, sessionId } = await begin(server.acme, { ackLevel: AckLevel.ACCEPTED });
    const lock = await holdStreams(server.database.url, workflowId);
    for (let n = 1; n <= 200; n++) call.batch(n, [`${n}`]);
    await call.accepted(200);
    const closing = server.admin.admin.closeSession({ sessionId });
    await lock.release();
    const { session } = await closing;
    const closed = await call.closed();
    expect(closed.reason).toBe(SessionClosedReason.ADMIN);
    const kept = await stored(server.acme, workflowId);
    expect(kept).toEqual(texts(kept.length));
    expect(Number(closed.finalSequence)).toBe(kept.length);
    expect(Number(session?.lastSequence)).toBe(kept.length);
    expect(closed.discarded + kept.length).toBe(200);
    const [listed] = (await server.acme.admin.listSessions({ sessionId })).sessions;
    expect(listed).toMatchObject({ state: SessionState.CLOSED, lastSequence: closed.finalSequence });
  });

  test("ends a detached session, and one that has ended stays as it is", async () => {
    const { workflowId, call, sessionId } = await begin(server.acme);
    call.batch(1, ["1"]);
    call.halfClose();
    await call.closed();
    for (let i = 0; i < 2; i++) {
      const { session } = await server.acme.admin.closeSession({ sessionId });
      expect(session).toMatchObject({ state: SessionState.CLOSED, lastSequence: 1n });
    }
    expect(await codeOf(openSession(server.acme, workflowId, { sessionId }))).toBe("FailedPrecondition");
  });

  test("of what is unknown, malformed, or not one's own is refused and changes nothing", async () => {
    const { call, sessionId } = await begin(server.acme);
    const close = ({ admin }: Clients, id: string) => codeOf(admin.closeSession({ sessionId: id }));
    expect(await close(server.acme, crypto.randomUUID())).toBe("NotFound");
    expect(await close(server.admin, crypto.randomUUID())).toBe("NotFound");
    expect(await close(server.acme, "no-uuid")).toBe("InvalidArgument");
    expect(await close(server.acme, "")).toBe("InvalidArgument");
    expect(await close(server.globex, sessionId)).toBe("PermissionDenied");
    expect(await close(await keyOf(Role.READ, Role.PUBLISH), sessionId)).toBe("PermissionDenied");
    call.batch(1, ["1"]);
    await call.durable(1);
    expect(await close(await keyOf(Role.MANAGE), sessionId)).toBe("OK");
    expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.ADMIN });
  });
});

describe("who may write by a session", () => {
  test("keys with PUBLISH may; READ, MANAGE, the admin key, stream tokens and nobody may not", async () => {
    const workflowId = await newWorkflow(server.acme);
    const { token } = await server.acme.tokens.createStreamToken({ workflowIds: [workflowId] });
    const cases: [who: string, clients: Clients, code: string][] = [
      ["PUBLISH", await keyOf(Role.PUBLISH), "OK"],
      ["READ", await keyOf(Role.READ), "PermissionDenied"],
      ["MANAGE", await keyOf(Role.MANAGE), "PermissionDenied"],
      ["READ and MANAGE", await keyOf(Role.READ, Role.MANAGE), "PermissionDenied"],
      ["the admin key", server.admin, "PermissionDenied"],
      ["a stream token", server.clients(token), "PermissionDenied"],
      ["a wrong key", server.clients("wrong"), "Unauthenticated"],
      ["no key", server.clients(""), "Unauthenticated"],
    ];
    for (const [who, clients, code] of cases) {
      expect(`${who}: ${await codeOf(openSession(clients, workflowId))}`).toBe(`${who}: ${code}`);
    }
  });

  test("a session may be resumed with another key of its tenant", async () => {
    const { workflowId, call, sessionId } = await begin(server.acme);
    call.batch(1, ["1"]);
    await call.durable(1);
    const other = await keyOf(Role.PUBLISH);
    const second = await openSession(other, workflowId, { sessionId });
    expect(await second.opened()).toMatchObject({ lastSequence: 1n });
  });

  test("a revoked key ends its session calls with REVOKED, and the session can be resumed", {
    timeout: 90_000,
  }, async () => {
    const { apiKeyId, key } = await server.admin.admin.createApiKey({
      tenantSlug: "acme",
      roles: [Role.PUBLISH],
    });
    const { workflowId, call, sessionId } = await begin(server.clients(key));
    call.batch(1, ["1"]);
    await call.durable(1);
    await server.admin.admin.revokeApiKey({ apiKeyId });
    await until(() => expect(call.all("closed")).toHaveLength(1), 60_000);
    expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.REVOKED, finalSequence: 1n });
    const second = await openSession(server.acme, workflowId, { sessionId });
    expect(await second.opened()).toMatchObject({ lastSequence: 1n });
  });

  test("a disabled tenant's session calls end too, and nothing more is stored", {
    timeout: 90_000,
  }, async () => {
    const doomed = await createTenant(server.admin, "doomed");
    const { workflowId, call } = await begin(doomed);
    call.batch(1, ["1"]);
    await call.durable(1);
    await server.admin.admin.updateTenant({ slug: "doomed", disabled: true });
    await until(() => expect(call.all("closed")).toHaveLength(1), 60_000);
    expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.REVOKED, finalSequence: 1n });
    expect(await codeOf(openSession(doomed, workflowId))).not.toBe("OK");
  });
});
