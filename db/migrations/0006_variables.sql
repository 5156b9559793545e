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