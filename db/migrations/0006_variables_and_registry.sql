-- What changed in the registry, for who watches it (docs/decisions/0012-feeds.md). Each workflow knows the
-- transaction that changed it last, and deleted ones leave a row behind for 15 minutes. A snapshot of Postgres says exactly
-- which transactions it has seen: so "what was committed since I last looked" needs no clock, and a transaction that
-- was open for long is found whenever it commits.
CREATE TABLE "workflow_deletion" (
	"deletion_id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "workflow_deletion_deletion_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"tenant_slug" text NOT NULL,
	"root_workflow_id" uuid NOT NULL,
	"workflow_ids" uuid[] NOT NULL,
	"deleted_xid" "xid8" DEFAULT pg_current_xact_id() NOT NULL,
	"deleted_ms" bigint DEFAULT (extract(epoch from clock_timestamp()) * 1000)::bigint NOT NULL
);
--> statement-breakpoint
-- In two steps: with the final default at once the whole table would be written anew. 0 is older than every snapshot.
ALTER TABLE "workflow" ADD COLUMN "changed_xid" "xid8" DEFAULT '0' NOT NULL;--> statement-breakpoint
ALTER TABLE "workflow" ALTER COLUMN "changed_xid" SET DEFAULT pg_current_xact_id();--> statement-breakpoint
ALTER TABLE "workflow_deletion" ADD CONSTRAINT "workflow_deletion_tenant_slug_tenant_slug_fk" FOREIGN KEY ("tenant_slug") REFERENCES "public"."tenant"("slug") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "workflow_deletion_by_change" ON "workflow_deletion" USING btree ("tenant_slug","deleted_xid");--> statement-breakpoint
CREATE INDEX "workflow_deletion_by_time" ON "workflow_deletion" USING btree ("deleted_ms");--> statement-breakpoint
CREATE INDEX "workflow_by_change" ON "workflow" USING btree ("tenant_slug","changed_xid","workflow_id");--> statement-breakpoint

-- What a Workflow message shows.
create function workflow_note_change() returns trigger language plpgsql as $$
begin
  new.changed_xid := pg_current_xact_id();
  return new;
end $$;
--> statement-breakpoint
create trigger workflow_changed before update of status, closed_ms, cancel_requested_ms, open_in_subtree, name, metadata
  on workflow for each row execute function workflow_note_change();
--> statement-breakpoint

create function workflow_note_deletion() returns trigger language plpgsql as $$
begin
  insert into workflow_deletion (tenant_slug, root_workflow_id, workflow_ids)
  select tenant_slug, root, array_agg(workflow_id order by no)
    from (select tenant_slug, path[1] as root, workflow_id,
                 row_number() over (partition by path[1] order by depth, workflow_id) as no from gone) as g
   group by tenant_slug, root, (no - 1) / 1000 order by root, min(no);
  -- Who deletes cleans up; what somebody else is cleaning up is left to them.
  delete from workflow_deletion where deletion_id in (
    select deletion_id from workflow_deletion
     where deleted_ms < (extract(epoch from clock_timestamp()) * 1000)::bigint - 15 * 60 * 1000
     order by deleted_ms limit 1000 for update skip locked);
  return null;
end $$;
--> statement-breakpoint
create trigger workflow_deleted after delete on workflow referencing old table as gone
  for each statement execute function workflow_note_deletion();

--> statement-breakpoint

-- Variables of workflows (docs/variables.md).
CREATE TABLE "variable" (
	"workflow_id" uuid NOT NULL,
	"name" text COLLATE "C" NOT NULL,
	"type" smallint NOT NULL,
	"value" text NOT NULL,
	"constraints" text,
	"metadata" jsonb NOT NULL,
	"version" bigint NOT NULL,
	"rules_version" bigint NOT NULL,
	"source" text NOT NULL,
	"offset" bigint NOT NULL,
	"deleted" boolean NOT NULL,
	"created_ms" bigint NOT NULL,
	"updated_ms" bigint NOT NULL,
	CONSTRAINT "variable_pkey" PRIMARY KEY("workflow_id","name"),
	CONSTRAINT "variable_type_known" CHECK ("variable"."type" between 1 and 6),
	CONSTRAINT "variable_versions_positive" CHECK (least("variable"."version", "variable"."rules_version") >= 1),
	CONSTRAINT "variable_deleted_is_empty" CHECK (not "variable"."deleted" or ("variable"."value" = 'null' and "variable"."constraints" is null))
);
--> statement-breakpoint
ALTER TABLE "variable" ADD CONSTRAINT "variable_workflow_id_workflow_workflow_id_fk" FOREIGN KEY ("workflow_id") REFERENCES "public"."workflow"("workflow_id") ON DELETE cascade ON UPDATE no action;