CREATE TABLE "memory_space" (
	"tenant_slug" text NOT NULL,
	"space" text NOT NULL,
	"display_name" text DEFAULT '' NOT NULL,
	"stream_id" uuid NOT NULL,
	"created_ms" bigint DEFAULT (extract(epoch from clock_timestamp()) * 1000)::bigint NOT NULL,
	"retention_max_age_ms" bigint DEFAULT 0 NOT NULL,
	"retention_max_observations" bigint DEFAULT 0 NOT NULL,
	CONSTRAINT "memory_space_pkey" PRIMARY KEY("tenant_slug","space"),
	CONSTRAINT "memory_space_stream_id_unique" UNIQUE("stream_id"),
	CONSTRAINT "memory_space_form" CHECK ("memory_space"."space" ~ '^[a-z0-9][a-z0-9_-]{2,62}$'),
	CONSTRAINT "memory_space_retention_not_negative" CHECK (least("memory_space"."retention_max_age_ms", "memory_space"."retention_max_observations") >= 0)
);
--> statement-breakpoint
CREATE TABLE "observation" (
	"stream_id" uuid NOT NULL,
	"offset" bigint NOT NULL,
	"observation_id" text NOT NULL,
	"session_id" uuid NOT NULL,
	"metadata" jsonb NOT NULL,
	"confidence" real NOT NULL,
	"importance" real NOT NULL,
	"observed_ms" bigint NOT NULL,
	"search" "tsvector" NOT NULL,
	CONSTRAINT "observation_pkey" PRIMARY KEY("stream_id","offset"),
	CONSTRAINT "observation_id_in_space" UNIQUE("stream_id","observation_id"),
	CONSTRAINT "observation_confidence" CHECK ("observation"."confidence" between 0 and 1),
	CONSTRAINT "observation_importance" CHECK ("observation"."importance" between 0 and 1)
);
--> statement-breakpoint
ALTER TABLE "memory_space" ADD CONSTRAINT "memory_space_tenant_slug_tenant_slug_fk" FOREIGN KEY ("tenant_slug") REFERENCES "public"."tenant"("slug") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "memory_space" ADD CONSTRAINT "memory_space_stream_id_stream_stream_id_fk" FOREIGN KEY ("stream_id") REFERENCES "public"."stream"("stream_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "observation_by_words" ON "observation" USING gin ("search");--> statement-breakpoint
CREATE INDEX "observation_by_time" ON "observation" USING btree ("stream_id","observed_ms");--> statement-breakpoint
CREATE INDEX "observation_by_session" ON "observation" USING btree ("stream_id","session_id","offset");