/** `tributary key rotate-signing`: another key signs stream tokens from now on. Needs the admin key. */
import type { Command } from "commander";
import { RotateSigningKeyResponseSchema } from "../../../gen/tributary/v1/admin_service_pb.ts";
import type { Cli } from "../../cli.ts";
import { withExamples } from "../../help.ts";
import { toPlain } from "../../output/plain.ts";
import { toMoment } from "../../output/time.ts";

export function addKeyRotateSigning(parent: Command, cli: Cli): void {
  const command = parent
    .command("rotate-signing")
    .description("let a new key sign stream tokens (needs the admin key)")
    .option("--retire-older", "after a leak: tokens signed before are refused at once, their open calls end")
    .action(async ({ retireOlder }: { retireOlder?: boolean }) => {
      const { admin } = await cli.client();
      const answer = await admin.rotateSigningKey({ retireOlder: retireOlder === true });
      cli.output.result(toPlain(RotateSigningKeyResponseSchema, answer), () => {
        const older =
          answer.olderEndMs === 0n
            ? "Tokens signed before are refused."
            : `Tokens signed before stay valid until they expire; their keys are kept until ${toMoment(answer.olderEndMs)}.`;
        return `Key ${answer.signingKeyId} signs stream tokens from now on. ${older}`;
      });
    });
  withExamples(
    command,
    ["tributary key rotate-signing", "now and then; nobody notices"],
    ["tributary key rotate-signing --retire-older", "a key may have leaked"],
  );
}
