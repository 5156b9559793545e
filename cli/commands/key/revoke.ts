/** `tributary key revoke`. */
import type { Command } from "commander";
import { ApiKeySchema } from "../../../gen/tributary/v1/admin_service_pb.ts";
import type { Cli } from "../../cli.ts";
import { withExamples } from "../../help.ts";
import { toPlain } from "../../output/plain.ts";
import { toMoment } from "../../output/time.ts";

export function addKeyRevoke(parent: Command, cli: Cli): void {
  const command = parent
    .command("revoke")
    .description("revoke an API key; its open calls end within a minute")
    .argument("<key-id>", "its public id (key_…), as in key list")
    .action(async (apiKeyId: string) => {
      const { admin } = await cli.client();
      const { apiKey } = await admin.revokeApiKey({ apiKeyId });
      if (apiKey === undefined) return;
      cli.output.result(
        toPlain(ApiKeySchema, apiKey),
        () => `Revoked ${apiKey.apiKeyId} of ${apiKey.tenantSlug} (${toMoment(apiKey.revokedMs)}).`,
      );
    });
  withExamples(command, ["tributary key revoke key_Zx81…", "as shown by tributary key list"]);
}
