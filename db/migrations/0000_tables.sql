CREATE TABLE "api_key" (
	"api_key_id" text PRIMARY KEY NOT NULL,
	"tenant_slug" text NOT NULL,
	"display_name" text DEFAULT '' NOT NULL,
	"roles" smallint[] NOT NULL,
	"secret_hash" "bytea" NOT NULL,
	"created_ms" bigint DEFAULT (extract(epoch from clock_timestamp()) * 1000)::bigint NOT NULL,
	"revoked_ms" bigint,
	CONSTRAINT "api_key_secret_hash_unique" UNIQUE("secret_hash"),
	CONSTRAINT "api_key_roles_known" CHECK ("api_key"."roles" <@ array[1,2,3]::smallint[] and cardinality("api_key"."roles") > 0),
	CONSTRAINT "api_key_hash_is_sha256" CHECK (octet_length("api_key"."secret_hash") = 32)
);
--> statement-breakpoint
CREATE TABLE "event" (
	"stream_id" uuid NOT NULL,
	"offset" bigint NOT NULL,
	"workflow_id" uuid,
	"task_execution_id" text NOT NULL,
	"producer_id" text NOT NULL,
	"sequence" bigint NOT NULL,
	"type" smallint NOT NULL,
	"payload" "bytea",
	"payload_is_text" boolean NOT NULL,
	"timestamp_ms" bigint NOT NULL,
	"recorded_ms" bigint NOT NULL,
	CONSTRAINT "event_pkey" PRIMARY KEY("stream_id","offset")
);
--> statement-breakpoint
CREATE TABLE "producer" (
	"stream_id" uuid NOT NULL,
	"workflow_id" uuid NOT NULL,
	"producer_id" text NOT NULL,
	"last_sequence" bigint NOT NULL,
	CONSTRAINT "producer_pkey" PRIMARY KEY("stream_id","workflow_id","producer_id"),
	CONSTRAINT "producer_sequence_positive" CHECK ("producer"."last_sequence" >= 0)
);
--> statement-breakpoint
CREATE TABLE "signing_key" (
	"signing_key_id" text PRIMARY KEY NOT NULL,
	"secret" "bytea" NOT NULL,
	"created_ms" bigint DEFAULT (extract(epoch from clock_timestamp()) * 1000)::bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "stream" (
	"stream_id" uuid PRIMARY KEY NOT NULL,
	"tenant_slug" text NOT NULL,
	"kind" smallint NOT NULL,
	"next_offset" bigint DEFAULT 1 NOT NULL,
	"epoch" bigint DEFAULT (extract(epoch from clock_timestamp()) * 1000)::bigint NOT NULL,
	CONSTRAINT "stream_kind_known" CHECK ("stream"."kind" in (1, 2)),
	CONSTRAINT "stream_next_offset_positive" CHECK ("stream"."next_offset" >= 1)
);
--> statement-breakpoint
CREATE TABLE "stream_floor" (
	"stream_id" uuid PRIMARY KEY NOT NULL,
	"floor_offset" bigint NOT NULL,
	CONSTRAINT "stream_floor_positive" CHECK ("stream_floor"."floor_offset" >= 0)
);
--> statement-breakpoint
CREATE TABLE "task" (
	"workflow_id" uuid NOT NULL,
	"task_execution_id" text NOT NULL,
	"terminal_type" smallint NOT NULL,
	"terminal_offset" bigint NOT NULL,
	CONSTRAINT "task_pkey" PRIMARY KEY("workflow_id","task_execution_id"),
	CONSTRAINT "task_terminal_type" CHECK ("task"."terminal_type" in (9, 10, 11))
);
--> statement-breakpoint
CREATE TABLE "tenant" (
	"slug" text PRIMARY KEY NOT NULL,
	"display_name" text DEFAULT '' NOT NULL,
	"max_streams" integer DEFAULT 0 NOT NULL,
	"max_sessions" integer DEFAULT 0 NOT NULL,
	"max_events_per_second" integer DEFAULT 0 NOT NULL,
	"max_bytes_per_second" bigint DEFAULT 0 NOT NULL,
	"max_open_workflows" integer DEFAULT 0 NOT NULL,
	"retention_ms" bigint DEFAULT 0 NOT NULL,
	"retention_events" bigint DEFAULT 0 NOT NULL,
	"disabled" boolean DEFAULT false NOT NULL,
	"created_ms" bigint DEFAULT (extract(epoch from clock_timestamp()) * 1000)::bigint NOT NULL,
	CONSTRAINT "tenant_slug_form" CHECK ("tenant"."slug" ~ '^[a-z0-9][a-z0-9_-]{2,62}$'),
	CONSTRAINT "tenant_limits_not_negative" CHECK (least("tenant"."max_streams", "tenant"."max_sessions", "tenant"."max_events_per_second", "tenant"."max_bytes_per_second", "tenant"."max_open_workflows", "tenant"."retention_ms", "tenant"."retention_events") >= 0)
);
--> statement-breakpoint
CREATE TABLE "workflow" (
	"workflow_id" uuid PRIMARY KEY NOT NULL,
	"tenant_slug" text NOT NULL,
	"stream_id" uuid NOT NULL,
	"parent_workflow_id" uuid,
	"path" uuid[] NOT NULL,
	"depth" smallint NOT NULL,
	"name" text NOT NULL,
	"metadata" jsonb NOT NULL,
	"status" smallint DEFAULT 1 NOT NULL,
	"created_ms" bigint DEFAULT (extract(epoch from clock_timestamp()) * 1000)::bigint NOT NULL,
	"created_offset" bigint NOT NULL,
	"closed_ms" bigint,
	"cancel_requested_ms" bigint,
	"cancel_reason" text,
	"terminal_offset" bigint,
	"open_in_subtree" integer DEFAULT 1 NOT NULL,
	"subtree_final_offset" bigint,
	"retention_max_age_ms" bigint,
	"retention_max_events" bigint,
	CONSTRAINT "workflow_created_offset" UNIQUE("stream_id","created_offset"),
	CONSTRAINT "workflow_depth" CHECK ("workflow"."depth" between 0 and 32 and cardinality("workflow"."path") = "workflow"."depth" + 1),
	CONSTRAINT "workflow_path_ends_in_itself" CHECK ("workflow"."path"["workflow"."depth" + 1] = "workflow"."workflow_id"),
	CONSTRAINT "workflow_root_or_parent" CHECK (("workflow"."depth" = 0) = ("workflow"."parent_workflow_id" is null)),
	CONSTRAINT "workflow_status_known" CHECK ("workflow"."status" between 1 and 4),
	CONSTRAINT "workflow_closed_has_offset_and_time" CHECK (("workflow"."status" = 1) = ("workflow"."terminal_offset" is null) and ("workflow"."status" = 1) = ("workflow"."closed_ms" is null)),
	CONSTRAINT "workflow_open_counts_itself" CHECK ("workflow"."open_in_subtree" >= ("workflow"."status" = 1)::int),
	CONSTRAINT "workflow_ended_subtree_has_offset" CHECK (("workflow"."open_in_subtree" = 0) = ("workflow"."subtree_final_offset" is not null))
);
--> statement-breakpoint
ALTER TABLE "api_key" ADD CONSTRAINT "api_key_tenant_slug_tenant_slug_fk" FOREIGN KEY ("tenant_slug") REFERENCES "public"."tenant"("slug") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "producer" ADD CONSTRAINT "producer_stream_id_stream_stream_id_fk" FOREIGN KEY ("stream_id") REFERENCES "public"."stream"("stream_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "stream" ADD CONSTRAINT "stream_tenant_slug_tenant_slug_fk" FOREIGN KEY ("tenant_slug") REFERENCES "public"."tenant"("slug") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "stream_floor" ADD CONSTRAINT "stream_floor_stream_id_stream_stream_id_fk" FOREIGN KEY ("stream_id") REFERENCES "public"."stream"("stream_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "task" ADD CONSTRAINT "task_workflow_fk" FOREIGN KEY ("workflow_id") REFERENCES "public"."workflow"("workflow_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "workflow" ADD CONSTRAINT "workflow_tenant_slug_tenant_slug_fk" FOREIGN KEY ("tenant_slug") REFERENCES "public"."tenant"("slug") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "workflow" ADD CONSTRAINT "workflow_stream_id_stream_stream_id_fk" FOREIGN KEY ("stream_id") REFERENCES "public"."stream"("stream_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "workflow" ADD CONSTRAINT "workflow_parent_workflow_id_workflow_workflow_id_fk" FOREIGN KEY ("parent_workflow_id") REFERENCES "public"."workflow"("workflow_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "api_key_by_tenant" ON "api_key" USING btree ("tenant_slug","created_ms");--> statement-breakpoint
CREATE INDEX "event_by_workflow" ON "event" USING btree ("workflow_id","offset");--> statement-breakpoint
CREATE INDEX "workflow_by_tenant" ON "workflow" USING btree ("tenant_slug","created_ms","workflow_id");--> statement-breakpoint
CREATE INDEX "workflow_by_parent" ON "workflow" USING btree ("parent_workflow_id","created_ms","workflow_id");