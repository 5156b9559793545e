/** Prepared statements whose parameters are written by hand (bind-message.ts), one at a time on a connection. */
import pg from "pg";
import { BindMessage } from "./bind-message.ts";
import type { Client } from "./pool.ts";

/**
 * A connection's buffer, while no statement needs it: when the answer is here Postgres has read what was sent. Of an error that is not sure,
 * since one may come before the message has left: its buffer is not used again.
 */
const idle = new WeakMap<Client, BindMessage>();

/** The parameters could not be written. Nothing was sent. */
export class BindError extends Error {
  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.name = "BindError";
  }
}

export interface BoundStatement {
  readonly name: string;
  readonly text: string;
}

// biome-ignore lint/suspicious/noExplicitAny: as the driver has them
type Rows = any[];

/** The rows as the driver reads them. Not for pools, which would wait for the client that they gave. Throws `BindError` for what `write` throws. */
export async function queryBound(
  client: Client,
  { name, text }: BoundStatement,
  write: (parameters: BindMessage) => void,
): Promise<Rows> {
  const message = idle.get(client) ?? new BindMessage();
  idle.delete(client);
  let bytes: Buffer;
  try {
    message.begin(name);
    write(message);
    bytes = message.finish();
  } catch (error) {
    throw new BindError(error);
  }
  const rows = await new Promise<Rows>((resolve, reject) => {
    client.query(
      new BoundQuery({ name, text }, bytes, (error, result) =>
        error ? reject(error) : resolve(result.rows),
      ),
    );
  });
  idle.set(client, message);
  return rows;
}

type Callback = (error: Error | undefined, result: pg.ResultBuilder) => void;

class BoundQuery extends pg.Query {
  constructor(statement: BoundStatement, bytes: Buffer, callback: Callback) {
    super(statement, callback);
    const { submit } = this;
    // Everything is the driver's but what it would bind.
    this.submit = (connection) => {
      const { stream } = connection;
      const bind = () => stream.writable && stream.write(bytes);
      return submit.call(this, Object.create(connection, { bind: { value: bind } }) as pg.Connection);
    };
  }
}
