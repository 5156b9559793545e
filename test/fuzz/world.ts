/** What the inputs are about, made once; and the other tenant's tables, which must be the same afterwards. */
import type pg from "pg";
import { Role } from "../../gen/tributary/v1/admin_service_pb.ts";
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import { type Clients, createTenant, type TestServer } from "../support/server.ts";
import * as places from "./places.ts";
import type { Secrets } from "./send.ts";

export async function makeWorld(server: TestServer): Promise<Secrets> {
  const { acme, globex, admin } = server;
  for (const workflowId of [...places.open, ...places.ended])
    await acme.workflows.createWorkflow({ workflowId, name: "w" });
  for (const workflowId of places.ended) await acme.workflows.closeWorkflow({ workflowId, status: 2 });
  for (const workflowId of places.open) {
    const value = { kind: { case: "numberValue" as const, value: 1 } };
    const assignments = places.variables.map((name) => ({ name, value }));
    await acme.variables.setVariables({ workflowId, assignments });
  }
  for (const workflowId of places.foreign) {
    await globex.workflows.createWorkflow({ workflowId, name: "w" });
    await globex.variables.setVariable({
      workflowId,
      assignment: { name: "n", value: { kind: { case: "numberValue", value: 1 } } },
    });
  }
  for (const i of places.apiKeys.keys()) {
    places.apiKeys[i] = (await acme.admin.createApiKey({ displayName: "to be revoked" })).apiKeyId;
  }
  for (const i of places.sessions.keys()) places.sessions[i] = await openSession(acme, i);
  const stranger = await createTenant(admin, "stranger");
  const { key } = await admin.admin.createApiKey({ tenantSlug: "acme", roles: [Role.READ] });
  const { token } = await acme.tokens.createStreamToken({ workflowIds: [...places.open], ttlSeconds: 3600 });
  return { acme: acme.key, stranger: stranger.key, admin: admin.key, token, readOnly: key };
}

/** A session that has stored something and waits for being resumed. */
async function openSession({ memory, tasks }: Clients, number: number): Promise<string> {
  const observations = Array.from({ length: 5 }, (_, i) => ({
    observationId: `o${number}-${i}`,
    content: "what was seen",
  }));
  const [workflowId = ""] = places.open;
  const event = { workflowId, taskExecutionId: "t", type: EventType.DATA };
  const replies =
    number % 2 === 0
      ? memory.observeStream(
          (async function* () {
            yield { operation: { case: "init" as const, value: { session: {} } } };
            yield { operation: { case: "batch" as const, value: { firstSequence: 1n, observations } } };
          })(),
        )
      : tasks.publishTaskStream(
          (async function* () {
            yield { operation: { case: "init" as const, value: { session: {}, workflowId } } };
            yield { operation: { case: "batch" as const, value: { firstSequence: 1n, events: [event] } } };
          })(),
        );
  let sessionId = "";
  for await (const { reply } of replies) {
    if (reply?.message.case === "initAck") sessionId = reply.message.value.sessionId;
  }
  return sessionId;
}

const tables: Readonly<Record<string, string>> = {
  tenant: "slug = $1",
  api_key: "tenant_slug = $1",
  stream: "tenant_slug = $1",
  workflow: "tenant_slug = $1",
  session: "tenant_slug = $1",
  memory_space: "tenant_slug = $1",
  event: "stream_id in (select stream_id from stream where tenant_slug = $1)",
  producer: "stream_id in (select stream_id from stream where tenant_slug = $1)",
  observation: "stream_id in (select stream_id from stream where tenant_slug = $1)",
  task: "workflow_id in (select workflow_id from workflow where tenant_slug = $1)",
  variable: "workflow_id in (select workflow_id from workflow where tenant_slug = $1)",
};

/** Of all rows of a tenant, by table. */
export async function digestOf(pool: pg.Pool, tenant: string): Promise<Record<string, string>> {
  const digests: Record<string, string> = {};
  for (const [table, whose] of Object.entries(tables)) {
    const { rows } = await pool.query<{ digest: string }>(
      `select count(*) || ':' || coalesce(md5(string_agg(t::text, ',' order by t::text)), '') as digest from ${table} t where ${whose}`,
      [tenant],
    );
    digests[table] = rows[0]?.digest ?? "";
  }
  return digests;
}
