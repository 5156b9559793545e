/**
 * One connection that commits groups: opened when first needed, thrown away when it fails, opened anew by the next group.
 * One group at a time: the appender sees to that.
 */

import { type Client, createCommitClient, type DatabaseOptions } from "../../db/pool.ts";
import { append } from "../../db/statements/append.ts";
import type { AppendAnswer, AppendGroup } from "../../db/statements/append-group.ts";
import { StoreError } from "../core/ports.ts";
import { toStoreError } from "./store-errors.ts";

/** A stream locked by somebody delays what shares its group at most so long, ms (design §2). */
const lockTimeoutMs = 2000;

export class CommitConnection {
  readonly #options: DatabaseOptions;
  #client: Client | undefined;

  constructor(options: DatabaseOptions) {
    this.#options = options;
  }

  async append(group: AppendGroup): Promise<AppendAnswer> {
    const client = await this.#connect();
    try {
      return await append(client, group);
    } catch (error) {
      const failure = toStoreError(error, true);
      // After a timeout of the driver the connection may still be busy with the statement.
      if (failure.failure === "away" || failure.failure === "unknown") await this.close();
      throw failure;
    }
  }

  async #connect(): Promise<Client> {
    if (this.#client !== undefined) return this.#client;
    const client = createCommitClient(
      {
        ...this.#options,
        onError: (error) => {
          if (this.#client === client) this.#client = undefined;
          this.#options.onError(error);
        },
      },
      lockTimeoutMs,
    );
    try {
      await client.connect();
    } catch (error) {
      void client.end().catch(() => {});
      // Whatever Postgres says to a connection that is not open yet (password, pg_hba, starting up): nothing was stored.
      throw new StoreError("away", (error as Error).message, error);
    }
    this.#client = client;
    return client;
  }

  async close(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    if (client === undefined) return;
    // A silent connection would not answer to a polite end.
    const ended = client.end().catch(() => {});
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 1000).unref())]);
  }
}
