/** Sessions on Postgres: their rows; sequence and epoch come from the producer row that `append` moves. */
import { and, desc, eq, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import type { Pool } from "../../db/pool.ts";
import { memorySpace, producer, session } from "../../db/schema.ts";
import { noWorkflow } from "../core/event.ts";
import { ClosedReason, SessionState } from "../core/session/messages.ts";
import type { SessionRecord, SessionStore } from "../core/session/session-store.ts";

const nowMs = sql`(extract(epoch from clock_timestamp()) * 1000)::bigint`;

const columns = {
  sessionId: session.sessionId,
  tenant: session.tenantSlug,
  streamId: session.streamId,
  workflowId: session.workflowId,
  space: memorySpace.space,
  state: session.state,
  lastSequence: producer.lastSequence,
  epoch: producer.epoch,
  createdMs: session.createdMs,
  lastActivityMs: session.lastActivityMs,
  leaseExpiresMs: session.leaseExpiresMs,
  closedReason: session.closedReason,
};

/** A session's row of `producer`. */
const ofSession = sql`${producer.streamId} = ${session.streamId} and ${producer.workflowId} = ${noWorkflow}
  and ${producer.producerId} = ${session.sessionId}::text`;

export function createPgSessionStore(pool: Pool): SessionStore {
  const db = drizzle(pool);
  const select = () =>
    db
      .select(columns)
      .from(session)
      .innerJoin(producer, ofSession)
      .leftJoin(memorySpace, eq(memorySpace.streamId, session.streamId));
  return {
    async find(sessionId) {
      const [row] = await select().where(eq(session.sessionId, sessionId));
      return row && toRecord(row);
    },

    async list({ tenant, state, sessionId }, size, after) {
      const rows = await select()
        .where(
          and(
            tenant === undefined ? undefined : eq(session.tenantSlug, tenant),
            state === undefined ? undefined : eq(session.state, state),
            sessionId === undefined ? undefined : eq(session.sessionId, sessionId),
            after === undefined
              ? undefined
              : sql`(${session.createdMs}, ${session.sessionId}) < (${after.createdMs}, ${after.sessionId})`,
          ),
        )
        .orderBy(desc(session.createdMs), desc(session.sessionId))
        .limit(size + 1);
      const page = rows.slice(0, size);
      const last = page.at(-1);
      return {
        sessions: page.map(toRecord),
        next:
          rows.length > size && last !== undefined
            ? { createdMs: last.createdMs, sessionId: last.sessionId }
            : undefined,
      };
    },

    async renew(attached, leaseMs) {
      const { rows } = await pool.query({
        name: "renew_sessions",
        text: `with asked as (
                 select * from unnest($1::uuid[], $2::bigint[], $3::smallint[]) as a(session_id, epoch, state)
               ), renewed as (
                 update session s set state = a.state, last_activity_ms = n.now, lease_expires_ms = n.now + $4
                   from asked a, producer p, (select (extract(epoch from clock_timestamp()) * 1000)::bigint as now) n
                  where s.session_id = a.session_id and s.closed_ms is null and p.stream_id = s.stream_id
                    and p.workflow_id = '${noWorkflow}'
                    and p.producer_id = s.session_id::text and p.epoch = a.epoch
                 returning s.session_id
               )
               select asked.session_id, s.closed_reason from asked left join session s using (session_id)
                where asked.session_id not in (select session_id from renewed)`,
        values: [
          attached.map(({ sessionId }) => sessionId),
          attached.map(({ epoch }) => epoch),
          attached.map(({ state }) => state),
          leaseMs,
        ],
      });
      return rows.map((row) => ({
        sessionId: row.session_id as string,
        closedReason: (row.closed_reason as number | null) ?? undefined,
      }));
    },

    async pendingCancels(workflowIds) {
      const { rows } = await pool.query({
        name: "pending_cancels",
        text: `select workflow_id, stream_id, cancel_reason from workflow
                where workflow_id = any ($1::uuid[]) and cancel_requested_ms is not null and status = 1`,
        values: [workflowIds],
      });
      return rows.map((row) => ({
        workflowId: row.workflow_id as string,
        streamId: row.stream_id as string,
        reason: row.cancel_reason as string,
      }));
    },

    async detach(sessionId, epoch, leaseMs) {
      const { rowCount } = await db
        .update(session)
        .set({
          state: SessionState.DETACHED,
          lastActivityMs: nowMs as never,
          leaseExpiresMs: sql`${nowMs} + ${leaseMs}` as never,
        })
        .where(
          and(
            eq(session.sessionId, sessionId),
            sql`${session.closedMs} is null`,
            sql`exists (select from ${producer} where ${ofSession} and ${producer.epoch} = ${epoch})`,
          ),
        );
      return rowCount === 1;
    },

    async expire() {
      // The epoch too: who still holds an old connection must not go on writing for a session that others take for ended.
      const { rows } = await pool.query({
        name: "expire_sessions",
        text: `with closed as (
                 update session set state = $1, closed_ms = n.now, closed_reason = $2
                   from (select (extract(epoch from clock_timestamp()) * 1000)::bigint as now) n
                  where closed_ms is null and lease_expires_ms < n.now
                 returning stream_id, session_id, tenant_slug, workflow_id
               ), fenced as (
                 update producer p set epoch = p.epoch + 1 from closed c
                  where p.stream_id = c.stream_id and p.workflow_id = '${noWorkflow}'
                    and p.producer_id = c.session_id::text
               )
               select c.session_id, c.tenant_slug, c.workflow_id, m.space
                 from closed c left join memory_space m using (stream_id)`,
        values: [SessionState.CLOSED, ClosedReason.LEASE_EXPIRED],
      });
      return rows.map((row) => ({
        sessionId: row.session_id as string,
        tenant: row.tenant_slug as string,
        workflowId: (row.workflow_id as string | null) ?? undefined,
        space: (row.space as string | null) ?? undefined,
      }));
    },
  };
}

type Row = Omit<SessionRecord, "workflowId" | "space" | "closedReason"> & {
  workflowId: string | null;
  space: string | null;
  closedReason: number | null;
};

const toRecord = (row: Row): SessionRecord => ({
  ...row,
  workflowId: row.workflowId ?? undefined,
  space: row.space ?? undefined,
  closedReason: row.closedReason ?? undefined,
});
