/** What every command has at hand: where to print, the server's client, and how it hears Ctrl-C. */
import { createTributaryClient, type TributaryClient } from "../client/index.ts";
import { findDevKey } from "./dev-key.ts";
import type { Environment } from "./environment.ts";
import type { Interrupts } from "./interrupts.ts";
import type { Output } from "./output/output.ts";

/** Where the key came from, for the message when it is refused. */
export type KeySource =
  | { readonly kind: "environment" | "none" }
  | { readonly kind: "file"; readonly file: string };

export class Cli {
  readonly environment: Environment;
  readonly output: Output;
  readonly interrupts: Interrupts;
  readonly stdin: NodeJS.ReadStream;
  /** What the process ends with if nothing is thrown. */
  exitCode = 0;
  keySource: KeySource = { kind: "none" };
  readonly #clients: TributaryClient[] = [];

  constructor(
    deps: Pick<Cli, "environment" | "output" | "interrupts"> & { readonly stdin: NodeJS.ReadStream },
  ) {
    this.environment = deps.environment;
    this.output = deps.output;
    this.interrupts = deps.interrupts;
    this.stdin = deps.stdin;
  }

  /** A client of the server at TRIBUTARY_URL. */
  async client(): Promise<TributaryClient> {
    const { url } = this.environment;
    return this.connect(url, await this.findKey());
  }

  /** A client that is closed with the command. */
  connect(baseUrl: string, credential: string | undefined): TributaryClient {
    // Who types a command hears at once what is wrong.
    const client = createTributaryClient({ baseUrl, credential, resilience: { attempts: 1 } });
    this.#clients.push(client);
    return client;
  }

  /** TRIBUTARY_API_KEY, else the key that a server in development mode left in its data folder. */
  async findKey(): Promise<string | undefined> {
    const { apiKey, url, serverSettings } = this.environment;
    if (apiKey !== undefined) {
      this.keySource = { kind: "environment" };
      return apiKey;
    }
    const found = await findDevKey(url, serverSettings);
    if (found !== undefined) this.keySource = { kind: "file", file: found.file };
    return found?.key;
  }

  close(): void {
    for (const client of this.#clients.splice(0)) client.close();
  }
}
