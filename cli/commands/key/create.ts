/** `tributary key create`: the secret is shown this once; alone on stdout, so that a script can take it. */
import { type Command, InvalidArgumentError } from "commander";
import { CreateApiKeyResponseSchema, Role } from "../../../gen/tributary/v1/admin_service_pb.ts";
import type { Cli } from "../../cli.ts";
import { withExamples } from "../../help.ts";
import { toList, toOneOf } from "../../options.ts";
import { toPlain } from "../../output/plain.ts";

interface Options {
  readonly role?: readonly Role[];
  readonly name?: string;
}

const roleNames = ["READ", "PUBLISH", "MANAGE"];
const toRoles = toList(toOneOf<Role>(roleNames, Role));

export function addKeyCreate(parent: Command, cli: Cli): void {
  const command = parent
    .command("create")
    .description("make an API key; prints the secret, which is shown this once")
    .argument("<tenant>", "slug of the tenant")
    .option("--role <role>", `${roleNames.join(", ")}; repeat it for more (default: READ, PUBLISH)`, addRoles)
    .option("--name <text>", "for people")
    .action(async (tenantSlug: string, { role, name }: Options) => {
      const { admin } = await cli.client();
      const answer = await admin.createApiKey({
        tenantSlug,
        displayName: name ?? "",
        roles: [...(role ?? [])],
      });
      cli.output.result(toPlain(CreateApiKeyResponseSchema, answer), () => answer.key);
      if (!cli.output.json)
        cli.output.note(`Key ${answer.apiKeyId}. Keep the secret: it is not shown again.`);
    });
  withExamples(
    command,
    ["tributary key create acme", "for workers: READ and PUBLISH"],
    ["tributary key create acme --role READ --name dashboard", "only for reading"],
    ["tributary key create acme --role READ --role PUBLISH --role MANAGE", "everything"],
  );
}

function addRoles(text: string, before: readonly Role[] = []): Role[] {
  const roles = toRoles(text);
  if (roles.length === 0) throw new InvalidArgumentError(`It must be one of ${roleNames.join(", ")}.`);
  return [...before, ...roles];
}
