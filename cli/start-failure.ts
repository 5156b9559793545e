/** Why a server did not start, in words. Errors that are not known pass as they are. */
import { CommandFailure } from "./failure.ts";

/** `config`: where it was to listen. */
export async function explainStart(
  error: unknown,
  config?: { readonly HOST: string; readonly PORT: number },
): Promise<unknown> {
  const { BadSetting } = await import("../server/config.ts");
  const { UnusableDatabase } = await import("../db/migrate.ts");
  if (error instanceof BadSetting) {
    return new CommandFailure(error.message, "See tributary serve --help for all settings.");
  }
  if (error instanceof UnusableDatabase || isEmbeddedPostgresError(error)) {
    return new CommandFailure((error as Error).message);
  }
  if (!(error instanceof Error) || config === undefined) return error;
  const { HOST: host, PORT: port } = config;
  switch ((error as NodeJS.ErrnoException).code) {
    case "EADDRINUSE":
      return new CommandFailure(
        `Port ${port} on ${host} is taken by another program.`,
        `Choose another one, like PORT=${port + 1} npm start; PORT=0 takes any free one.`,
      );
    case "EACCES":
      return new CommandFailure(
        `PORT: this user may not listen on port ${port}.`,
        "Choose one from 1024 on, like PORT=8080.",
      );
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return new CommandFailure(
        `HOST: ${JSON.stringify(host)} is not an address of this machine.`,
        "Listen on HOST=127.0.0.1, or on HOST=0.0.0.0 for all of its addresses.",
      );
    default:
      return error;
  }
}

/** By name: db/embedded belongs to the server, and its errors reach us through it. */
const isEmbeddedPostgresError = (error: unknown): boolean =>
  error instanceof Error && error.name === "EmbeddedPostgresError";
