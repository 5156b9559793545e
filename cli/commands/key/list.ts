/** `tributary key list`: newest first, without secrets. */
import type { Command } from "commander";
import { type ApiKey, ApiKeySchema, RoleSchema } from "../../../gen/tributary/v1/admin_service_pb.ts";
import type { Cli } from "../../cli.ts";
import { withExamples } from "../../help.ts";
import { toWholeNumber } from "../../options.ts";
import { nameOf, toPlain } from "../../output/plain.ts";
import { toTable } from "../../output/table.ts";
import { toMoment } from "../../output/time.ts";
import { cleanLine } from "../../output/width.ts";
import { readAll } from "../../paging.ts";

export function addKeyList(parent: Command, cli: Cli): void {
  const command = parent
    .command("list")
    .description("list the API keys of a tenant, newest first")
    .argument("<tenant>", "slug of the tenant")
    .option("--limit <n>", "at most so many", toWholeNumber(1, 1_000_000), 100)
    .action(async (tenantSlug: string, { limit }: { limit: number }) => list(cli, tenantSlug, limit));
  withExamples(
    command,
    ["tributary key list acme", "who can call, and since when"],
    ["tributary key list acme --json | jq -r 'select(.revokedMs == 0).apiKeyId'", "valid ones, for a script"],
  );
}

async function list(cli: Cli, tenantSlug: string, limit: number): Promise<void> {
  const { admin } = await cli.client();
  const { output } = cli;
  const { rows, more } = await readAll<ApiKey>(limit, async (page) => {
    const answer = await admin.listApiKeys({ ...page, tenantSlug });
    return { rows: answer.apiKeys, nextPageToken: answer.nextPageToken };
  });
  if (output.json) for (const key of rows) output.object(toPlain(ApiKeySchema, key));
  else if (rows.length === 0) output.note(`No keys. Make one with tributary key create ${tenantSlug}.`);
  else output.print(table(rows, output.paint));
  if (more) output.note(`There are more than ${limit}; see them with --limit.`);
}

function table(rows: readonly ApiKey[], paint: Cli["output"]["paint"]): string {
  return toTable(
    rows,
    [
      { title: "KEY", cell: ({ apiKeyId }) => apiKeyId },
      { title: "ROLES", cell: ({ roles }) => roles.map((role) => nameOf(RoleSchema, role)).join(" ") },
      { title: "CREATED", cell: ({ createdMs }) => paint.dim(toMoment(createdMs)) },
      {
        title: "STATE",
        cell: ({ revokedMs }) =>
          revokedMs === 0n ? paint.green("valid") : paint.red(`revoked ${toMoment(revokedMs)}`),
      },
      { title: "NAME", cell: ({ displayName }) => cleanLine(displayName) },
    ],
    paint,
  );
}
