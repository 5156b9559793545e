/** `tributary tenant create`. */
import type { Command } from "commander";
import { TenantSchema } from "../../../gen/tributary/v1/admin_service_pb.ts";
import type { Cli } from "../../cli.ts";
import { withExamples } from "../../help.ts";
import { toPlain } from "../../output/plain.ts";

export function addTenantCreate(parent: Command, cli: Cli): void {
  const command = parent
    .command("create")
    .description("make a tenant")
    .argument("<slug>", "3–63 of a–z, 0–9, _ and -")
    .option("--name <text>", "for people")
    .action(async (slug: string, { name }: { name?: string }) => {
      const { admin } = await cli.client();
      const { tenant } = await admin.createTenant({ slug, displayName: name ?? "" });
      if (tenant === undefined) return;
      cli.output.result(
        toPlain(TenantSchema, tenant),
        () => `Made the tenant ${tenant.slug}. A key for it: tributary key create ${tenant.slug}`,
      );
    });
  withExamples(
    command,
    ["TRIBUTARY_API_KEY=<admin key> tributary tenant create acme", "then: tributary key create acme"],
    [`tributary tenant create acme --name "Acme Ltd"`, "with a name for people"],
  );
}
