CREATE TABLE "session" (
	"session_id" uuid PRIMARY KEY NOT NULL,
	"tenant_slug" text NOT NULL,
	"stream_id" uuid NOT NULL,
	"workflow_id" uuid,
	"state" smallint NOT NULL,
	"created_ms" bigint NOT NULL,
	"last_activity_ms" bigint NOT NULL,
	"lease_expires_ms" bigint NOT NULL,
	"closed_ms" bigint,
	"closed_reason" smallint,
	"rejections" jsonb DEFAULT '[]'::jsonb NOT NULL,
	CONSTRAINT "session_state_known" CHECK ("session"."state" between 1 and 8),
	CONSTRAINT "session_closed_has_time" CHECK (("session"."state" = 7) = ("session"."closed_ms" is not null))
);
--> statement-breakpoint
ALTER TABLE "producer" ADD COLUMN "epoch" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "producer" ADD COLUMN "last_offset" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "session" ADD CONSTRAINT "session_tenant_slug_tenant_slug_fk" FOREIGN KEY ("tenant_slug") REFERENCES "public"."tenant"("slug") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "session" ADD CONSTRAINT "session_stream_id_stream_stream_id_fk" FOREIGN KEY ("stream_id") REFERENCES "public"."stream"("stream_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "session_by_tenant" ON "session" USING btree ("tenant_slug","created_ms","session_id");--> statement-breakpoint
CREATE INDEX "session_by_lease" ON "session" USING btree ("lease_expires_ms") WHERE closed_ms is null;--> statement-breakpoint
CREATE INDEX "session_open_by_tenant" ON "session" USING btree ("tenant_slug") WHERE closed_ms is null;