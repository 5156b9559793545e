/**
 * The tables. They state the invariants by keys, checks and foreign keys, everywhere but on `event`: there,
 * two foreign keys cost more than half of the throughput (69,000 → 28,000 events/s), its only writer is the
 * function `append`, and the tests' teardown proves the references with a query (`db/statements/find-orphans.ts`).
 *
 * Times are milliseconds since the epoch by the database's clock, except `event.timestamp_ms` (the producer's).
 */
import { sql } from "drizzle-orm";
import type { AnyPgColumn } from "drizzle-orm/pg-core";
import {
  bigint,
  boolean,
  check,
  customType,
  foreignKey,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  real,
  smallint,
  text,
  unique,
  uuid,
} from "drizzle-orm/pg-core";

const bytea = customType<{ data: Buffer }>({ dataType: () => "bytea" });
const xid8 = customType<{ data: string }>({ dataType: () => "xid8" });
const tsvector = customType<{ data: string }>({ dataType: () => "tsvector" });
/** Compared byte by byte, whatever the database's locale: the order of lists is part of the API. */
const byteOrdered = customType<{ data: string }>({ dataType: () => 'text COLLATE "C"' });
const ms = (name: string) => bigint(name, { mode: "number" });
const count = (name: string) => bigint(name, { mode: "number" });
const nowMs = sql`(extract(epoch from clock_timestamp()) * 1000)::bigint`;

export const tenant = pgTable(
  "tenant",
  {
    slug: text("slug").primaryKey(),
    displayName: text("display_name").notNull().default(""),
    /** Limits: 0 means the server's default. */
    maxStreams: integer("max_streams").notNull().default(0),
    maxSessions: integer("max_sessions").notNull().default(0),
    maxEventsPerSecond: integer("max_events_per_second").notNull().default(0),
    maxBytesPerSecond: count("max_bytes_per_second").notNull().default(0),
    maxOpenWorkflows: integer("max_open_workflows").notNull().default(0),
    /** Default retention after close, ms; 0: keep. */
    retentionMs: ms("retention_ms").notNull().default(0),
    /** Default newest events kept in a tree; 0: all. */
    retentionEvents: count("retention_events").notNull().default(0),
    disabled: boolean("disabled").notNull().default(false),
    createdMs: ms("created_ms").notNull().default(nowMs),
  },
  (t) => [
    check("tenant_slug_form", sql`${t.slug} ~ '^[a-z0-9][a-z0-9_-]{2,62}$'`),
    check(
      "tenant_limits_not_negative",
      sql`least(${t.maxStreams}, ${t.maxSessions}, ${t.maxEventsPerSecond}, ${t.maxBytesPerSecond}, ${t.maxOpenWorkflows}, ${t.retentionMs}, ${t.retentionEvents}) >= 0`,
    ),
  ],
);

export const apiKey = pgTable(
  "api_key",
  {
    apiKeyId: text("api_key_id").primaryKey(),
    tenantSlug: text("tenant_slug")
      .notNull()
      .references(() => tenant.slug),
    displayName: text("display_name").notNull().default(""),
    /** Numbers of tributary.v1.Role. */
    roles: smallint("roles").array().notNull(),
    /** SHA-256 of the whole key. The key has 256 random bits, so a slow hash would add nothing. */
    secretHash: bytea("secret_hash").notNull().unique(),
    createdMs: ms("created_ms").notNull().default(nowMs),
    revokedMs: ms("revoked_ms"),
  },
  (t) => [
    index("api_key_by_tenant").on(t.tenantSlug, t.createdMs),
    check("api_key_roles_known", sql`${t.roles} <@ array[1,2,3]::smallint[] and cardinality(${t.roles}) > 0`),
    check("api_key_hash_is_sha256", sql`octet_length(${t.secretHash}) = 32`),
  ],
);

/** Keys that sign stream tokens (HS256). The newest signs; all verify. */
export const signingKey = pgTable("signing_key", {
  signingKeyId: text("signing_key_id").primaryKey(),
  secret: bytea("secret").notNull(),
  createdMs: ms("created_ms").notNull().default(nowMs),
});

/** One totally ordered list of events: a tree of workflows (kind 1) or a memory space (kind 2). Its row is the lock. */
export const stream = pgTable(
  "stream",
  {
    streamId: uuid("stream_id").primaryKey(),
    tenantSlug: text("tenant_slug")
      .notNull()
      .references(() => tenant.slug),
    kind: smallint("kind").notNull(),
    /** The offset that the next entry gets. Moved by `append` alone, under the row's lock. */
    nextOffset: count("next_offset").notNull().default(1),
    /** Changes when the stream was restored; begins with the clock so that a tree made anew has another one. */
    epoch: count("epoch").notNull().default(nowMs),
    /** When the tail passes this, the stream holds more than it is to keep: see 0008_retention.sql. null: it keeps all. */
    trimAt: count("trim_at"),
  },
  (t) => [
    check("stream_kind_known", sql`${t.kind} in (1, 2)`),
    check("stream_next_offset_positive", sql`${t.nextOffset} >= 1`),
  ],
);

/** Up to where a stream was trimmed. A table of its own, so that retention does not wait for the stream's lock. */
export const streamFloor = pgTable(
  "stream_floor",
  {
    streamId: uuid("stream_id")
      .primaryKey()
      .references(() => stream.streamId, { onDelete: "cascade" }),
    floorOffset: count("floor_offset").notNull(),
    /** Rows up to here are gone. Those between this and the floor are still to be deleted; nobody reads them. */
    deletedTo: count("deleted_to").notNull().default(0),
  },
  (t) => [
    index("stream_floor_undeleted").on(t.streamId).where(sql`deleted_to < floor_offset`),
    check("stream_floor_positive", sql`${t.floorOffset} >= 0`),
  ],
);

/**
 * Trees whose last workflow has closed and whose entries are still there: what retention by age looks through. Written by a
 * trigger on `workflow`. Not those that are to be kept whatever their tenant says. Without a foreign key, as `retention_due`.
 */
export const closedTree = pgTable(
  "closed_tree",
  {
    streamId: uuid("stream_id").primaryKey(),
    tenantSlug: text("tenant_slug").notNull(),
    closedMs: ms("closed_ms").notNull(),
    /** null: the tenant's default. */
    maxAgeMs: ms("max_age_ms"),
  },
  (t) => [
    index("closed_tree_by_default").on(t.tenantSlug, t.closedMs).where(sql`max_age_ms is null`),
    index("closed_tree_by_own_age").on(sql`(closed_ms + max_age_ms)`).where(sql`max_age_ms is not null`),
  ],
);

/**
 * Streams that may hold more than they are to keep. Written by triggers, emptied by the retention sweep. Without a foreign
 * key: that would make whoever notes a stream wait for its lock.
 */
export const retentionDue = pgTable(
  "retention_due",
  {
    streamId: uuid("stream_id").primaryKey(),
    notedMs: ms("noted_ms").notNull().default(nowMs),
  },
  (t) => [index("retention_due_by_time").on(t.notedMs)],
);

/** Tenants whose trees are being looked through, because their default changed, and up to which workflow that has come. */
export const retentionWalk = pgTable("retention_walk", {
  tenantSlug: text("tenant_slug")
    .primaryKey()
    .references(() => tenant.slug),
  createdMs: ms("created_ms").notNull().default(0),
  workflowId: uuid("workflow_id").notNull().default("00000000-0000-0000-0000-000000000000"),
});

/** The database that this is, as it was when a server first used it: a restored copy shows itself by being another one. */
export const databaseIdentity = pgTable(
  "database_identity",
  {
    only: boolean("only").primaryKey().default(true),
    systemIdentifier: text("system_identifier").notNull(),
    databaseOid: bigint("database_oid", { mode: "number" }).notNull(),
    /** Rises when a standby is promoted, and at each restore to a point in time. */
    timeline: integer("timeline").notNull(),
    notedMs: ms("noted_ms").notNull().default(nowMs),
  },
  (t) => [check("database_identity_one_row", sql`${t.only}`)],
);

export const workflow = pgTable(
  "workflow",
  {
    workflowId: uuid("workflow_id").primaryKey(),
    tenantSlug: text("tenant_slug")
      .notNull()
      .references(() => tenant.slug),
    streamId: uuid("stream_id")
      .notNull()
      .references(() => stream.streamId),
    parentWorkflowId: uuid("parent_workflow_id").references((): AnyPgColumn => workflow.workflowId),
    /** The root, … , the parent, itself. */
    path: uuid("path").array().notNull(),
    depth: smallint("depth").notNull(),
    name: text("name").notNull(),
    metadata: jsonb("metadata").$type<Record<string, string>>().notNull(),
    /** Number of tributary.v1.WorkflowStatus. */
    status: smallint("status").notNull().default(1),
    createdMs: ms("created_ms").notNull().default(nowMs),
    createdOffset: count("created_offset").notNull(),
    closedMs: ms("closed_ms"),
    cancelRequestedMs: ms("cancel_requested_ms"),
    cancelReason: text("cancel_reason"),
    /** Offset of its own terminal event. */
    terminalOffset: count("terminal_offset"),
    /** Open workflows in this subtree, itself included. */
    openInSubtree: integer("open_in_subtree").notNull().default(1),
    /** Offset of the event with which the last workflow of the subtree closed. */
    subtreeFinalOffset: count("subtree_final_offset"),
    /** Roots only; null: the tenant's default; 0: keep. */
    retentionMaxAgeMs: ms("retention_max_age_ms"),
    /** Roots only; null: the tenant's default; 0: all. */
    retentionMaxEvents: count("retention_max_events"),
    /** The transaction that made it what it is now. Kept by a trigger for whoever watches the registry: see 0006_variables_and_registry.sql. */
    changedXid: xid8("changed_xid").notNull().default(sql`pg_current_xact_id()`),
  },
  (t) => [
    unique("workflow_created_offset").on(t.streamId, t.createdOffset),
    index("workflow_by_tenant").on(t.tenantSlug, t.createdMs, t.workflowId),
    index("workflow_by_parent").on(t.parentWorkflowId, t.createdMs, t.workflowId),
    index("workflow_by_change").on(t.tenantSlug, t.changedXid, t.workflowId),
    check("workflow_depth", sql`${t.depth} between 0 and 32 and cardinality(${t.path}) = ${t.depth} + 1`),
    check("workflow_path_ends_in_itself", sql`${t.path}[${t.depth} + 1] = ${t.workflowId}`),
    check("workflow_root_or_parent", sql`(${t.depth} = 0) = (${t.parentWorkflowId} is null)`),
    check("workflow_status_known", sql`${t.status} between 1 and 4`),
    check(
      "workflow_closed_has_offset_and_time",
      sql`(${t.status} = 1) = (${t.terminalOffset} is null) and (${t.status} = 1) = (${t.closedMs} is null)`,
    ),
    check("workflow_open_counts_itself", sql`${t.openInSubtree} >= (${t.status} = 1)::int`),
    check(
      "workflow_ended_subtree_has_offset",
      sql`(${t.openInSubtree} = 0) = (${t.subtreeFinalOffset} is not null)`,
    ),
  ],
);

/** Workflows that were deleted, for some minutes: written and trimmed by a trigger on `workflow`. At most 1,000 ids a row. */
export const workflowDeletion = pgTable(
  "workflow_deletion",
  {
    deletionId: bigint("deletion_id", { mode: "number" }).primaryKey().generatedAlwaysAsIdentity(),
    tenantSlug: text("tenant_slug")
      .notNull()
      .references(() => tenant.slug),
    rootWorkflowId: uuid("root_workflow_id").notNull(),
    workflowIds: uuid("workflow_ids").array().notNull(),
    deletedXid: xid8("deleted_xid").notNull().default(sql`pg_current_xact_id()`),
    deletedMs: ms("deleted_ms").notNull().default(nowMs),
  },
  (t) => [
    index("workflow_deletion_by_change").on(t.tenantSlug, t.deletedXid),
    index("workflow_deletion_by_time").on(t.deletedMs),
  ],
);

/**
 * How many workflows of a tenant are open, of those tenants that have a limit: see 0009_quotas.sql. Its row is locked from the
 * creation or the close to the commit.
 */
export const openWorkflowCount = pgTable(
  "open_workflow_count",
  {
    tenantSlug: text("tenant_slug")
      .primaryKey()
      .references(() => tenant.slug),
    open: integer("open").notNull(),
    /** The limit; not 0. */
    most: integer("most").notNull(),
  },
  (t) => [check("open_workflow_count_sane", sql`${t.open} >= 0 and ${t.most} > 0`)],
);

/** Reading calls that an instance holds for a tenant that has a limit. It renews the lease; what has run out is not counted. */
export const readerCount = pgTable(
  "reader_count",
  {
    tenantSlug: text("tenant_slug")
      .notNull()
      .references(() => tenant.slug),
    instanceId: uuid("instance_id").notNull(),
    open: integer("open").notNull(),
    leaseExpiresMs: ms("lease_expires_ms").notNull(),
  },
  (t) => [
    primaryKey({ name: "reader_count_pkey", columns: [t.tenantSlug, t.instanceId] }),
    check("reader_count_positive", sql`${t.open} >= 0`),
  ],
);

/** Every entry of every stream. No foreign keys: see the head of this file. */
export const event = pgTable(
  "event",
  {
    streamId: uuid("stream_id").notNull(),
    offset: count("offset").notNull(),
    workflowId: uuid("workflow_id"),
    taskExecutionId: text("task_execution_id").notNull(),
    producerId: text("producer_id").notNull(),
    sequence: count("sequence").notNull(),
    type: smallint("type").notNull(),
    /** null: no payload was given. Bytes also for text, since text may hold U+0000. */
    payload: bytea("payload"),
    payloadIsText: boolean("payload_is_text").notNull(),
    timestampMs: ms("timestamp_ms").notNull(),
    recordedMs: ms("recorded_ms").notNull(),
    /** W3C trace context of the writer: 16 bytes of trace id, 8 of span id, 1 of flags. null: none, or not sampled. */
    traceContext: bytea("trace_context"),
  },
  (t) => [
    primaryKey({ name: "event_pkey", columns: [t.streamId, t.offset] }),
    index("event_by_workflow").on(t.workflowId, t.offset),
  ],
);

/** Highest sequence stored for a producer: of a session (workflow nil) or of a given producer id in a workflow. */
export const producer = pgTable(
  "producer",
  {
    streamId: uuid("stream_id")
      .notNull()
      .references(() => stream.streamId, { onDelete: "cascade" }),
    workflowId: uuid("workflow_id").notNull(),
    producerId: text("producer_id").notNull(),
    lastSequence: count("last_sequence").notNull(),
    /** Of a session: raised by each connection that attaches; entries of an older one are refused. Else 0. */
    epoch: count("epoch").notNull().default(0),
    /** Of a session: offset of its last stored entry. */
    lastOffset: count("last_offset").notNull().default(0),
  },
  (t) => [
    primaryKey({ name: "producer_pkey", columns: [t.streamId, t.workflowId, t.producerId] }),
    check("producer_sequence_positive", sql`${t.lastSequence} >= 0`),
  ],
);

/**
 * Sessions. Sequence and epoch are in the session's row of `producer`, which `append` moves with the entries. The row stays
 * after the end, so that a client that comes back late learns where it ended.
 */
export const session = pgTable(
  "session",
  {
    sessionId: uuid("session_id").primaryKey(),
    tenantSlug: text("tenant_slug")
      .notNull()
      .references(() => tenant.slug),
    streamId: uuid("stream_id")
      .notNull()
      .references(() => stream.streamId, { onDelete: "cascade" }),
    /** Of task events: the workflow that its entries belong to unless they say otherwise. */
    workflowId: uuid("workflow_id"),
    /** Number of tributary.v1.SessionState, as of the last time that somebody wrote it. */
    state: smallint("state").notNull(),
    createdMs: ms("created_ms").notNull(),
    lastActivityMs: ms("last_activity_ms").notNull(),
    leaseExpiresMs: ms("lease_expires_ms").notNull(),
    closedMs: ms("closed_ms"),
    /** Number of tributary.v1.SessionClosedReason. */
    closedReason: smallint("closed_reason"),
    /** Its last 100 final rejections, oldest first, in case the answer was lost. */
    rejections: jsonb("rejections").$type<object[]>().notNull().default([]),
  },
  (t) => [
    index("session_by_tenant").on(t.tenantSlug, t.createdMs, t.sessionId),
    // What is deleted with its tree is found by it.
    index("session_by_stream").on(t.streamId),
    index("session_by_lease").on(t.leaseExpiresMs).where(sql`closed_ms is null`),
    index("session_open_by_tenant").on(t.tenantSlug).where(sql`closed_ms is null`),
    check("session_state_known", sql`${t.state} between 1 and 8`),
    check("session_closed_has_time", sql`(${t.state} = 7) = (${t.closedMs} is not null)`),
  ],
);

/** Tasks that have their terminal event. */
export const task = pgTable(
  "task",
  {
    workflowId: uuid("workflow_id").notNull(),
    taskExecutionId: text("task_execution_id").notNull(),
    /** COMPLETED, FAILED or CANCELLED, as in tributary.v1.EventType. */
    terminalType: smallint("terminal_type").notNull(),
    terminalOffset: count("terminal_offset").notNull(),
  },
  (t) => [
    primaryKey({ name: "task_pkey", columns: [t.workflowId, t.taskExecutionId] }),
    foreignKey({
      name: "task_workflow_fk",
      columns: [t.workflowId],
      foreignColumns: [workflow.workflowId],
    }).onDelete("cascade"),
    check("task_terminal_type", sql`${t.terminalType} in (9, 10, 11)`),
  ],
);

/** Memory spaces: each has a stream of its own (kind 2), whose entries are its observations. */
export const memorySpace = pgTable(
  "memory_space",
  {
    tenantSlug: text("tenant_slug")
      .notNull()
      .references(() => tenant.slug),
    space: text("space").notNull(),
    displayName: text("display_name").notNull().default(""),
    streamId: uuid("stream_id")
      .notNull()
      .unique()
      .references(() => stream.streamId),
    createdMs: ms("created_ms").notNull().default(nowMs),
    /** 0: keep. */
    retentionMaxAgeMs: ms("retention_max_age_ms").notNull().default(0),
    /** 0: all. */
    retentionMaxObservations: count("retention_max_observations").notNull().default(0),
    /** Before this none of its observations is too old, ms. */
    expiryMs: ms("expiry_ms").notNull().default(0),
  },
  (t) => [
    primaryKey({ name: "memory_space_pkey", columns: [t.tenantSlug, t.space] }),
    index("memory_space_by_expiry").on(t.expiryMs).where(sql`retention_max_age_ms > 0`),
    check("memory_space_form", sql`${t.space} ~ '^[a-z0-9][a-z0-9_-]{2,62}$'`),
    check(
      "memory_space_retention_not_negative",
      sql`least(${t.retentionMaxAgeMs}, ${t.retentionMaxObservations}) >= 0`,
    ),
  ],
);

/** What an observation has beside its event, which holds the content. Without foreign keys, as `event`, whose writer is its writer. */
export const observation = pgTable(
  "observation",
  {
    streamId: uuid("stream_id").notNull(),
    offset: count("offset").notNull(),
    observationId: text("observation_id").notNull(),
    sessionId: uuid("session_id").notNull(),
    metadata: jsonb("metadata").$type<Record<string, string>>().notNull(),
    confidence: real("confidence").notNull(),
    importance: real("importance").notNull(),
    /** The observer's clock. */
    observedMs: ms("observed_ms").notNull(),
    /** The words of the content, and "@<stream_id>": see observation_search in 0005_append_observations.sql. */
    search: tsvector("search").notNull(),
  },
  (t) => [
    primaryKey({ name: "observation_pkey", columns: [t.streamId, t.offset] }),
    unique("observation_id_in_space").on(t.streamId, t.observationId),
    index("observation_by_words").using("gin", t.search),
    index("observation_by_time").on(t.streamId, t.observedMs),
    index("observation_by_session").on(t.streamId, t.sessionId, t.offset),
    check("observation_confidence", sql`${t.confidence} between 0 and 1`),
    check("observation_importance", sql`${t.importance} between 0 and 1`),
  ],
);

/**
 * Variables of workflows as they are now; each change is also an entry of the tree's stream, written by the same op of
 * `append`. The row of a deleted one stays, so that its versions go on.
 */
export const variable = pgTable(
  "variable",
  {
    workflowId: uuid("workflow_id")
      .notNull()
      .references(() => workflow.workflowId, { onDelete: "cascade" }),
    name: byteOrdered("name").notNull(),
    /** Number of tributary.v1.VariableType. */
    type: smallint("type").notNull(),
    /** JSON as it was written: as jsonb, -0 would become 0, and 1e300 three hundred digits. */
    value: text("value").notNull(),
    /** JSON, for the same reason; null: none. */
    constraints: text("constraints"),
    metadata: jsonb("metadata").$type<Record<string, string>>().notNull(),
    /** Number of the value: rises with each set, never starts anew. */
    version: count("version").notNull(),
    /** Rises when type or constraints change: values are judged before the lock, by rules that may be of yesterday. */
    rulesVersion: count("rules_version").notNull(),
    /** Who changed it last. */
    source: text("source").notNull(),
    /** Of the last change. */
    offset: count("offset").notNull(),
    deleted: boolean("deleted").notNull(),
    createdMs: ms("created_ms").notNull(),
    updatedMs: ms("updated_ms").notNull(),
  },
  (t) => [
    primaryKey({ name: "variable_pkey", columns: [t.workflowId, t.name] }),
    check("variable_type_known", sql`${t.type} between 1 and 6`),
    check("variable_versions_positive", sql`least(${t.version}, ${t.rulesVersion}) >= 1`),
    check(
      "variable_deleted_is_empty",
      sql`not ${t.deleted} or (${t.value} = 'null' and ${t.constraints} is null)`,
    ),
  ],
);
