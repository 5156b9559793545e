/**
 * Connections to Postgres. The pool serves reads and the registry; the appender's commit connections are clients of
 * their own (`createCommitClient`), so that a flood of reads cannot delay a commit.
 *
 * Every connection has time limits, so that a silent network shows itself: `connectTimeoutMs` to connect,
 * `statementTimeoutMs` in the server and 2 s more in the driver, which then drops the connection.
 */
import pg from "pg";

export interface DatabaseOptions {
  readonly url: string;
  /** Connections of the pool. */
  readonly poolSize: number;
  /** Longest time to connect, ms. */
  readonly connectTimeoutMs: number;
  /** Longest time of one statement, ms. */
  readonly statementTimeoutMs: number;
  /** Told of errors of idle connections; the pool replaces them by itself. */
  readonly onError: (error: Error) => void;
}

export type Pool = pg.Pool;
export type Client = pg.Client;
/** What a statement needs: a pool, or a client in a transaction. */
export type Queryable = Pick<pg.Pool, "query">;

const base = (options: DatabaseOptions): pg.ClientConfig => ({
  connectionString: options.url,
  application_name: "tributary",
  connectionTimeoutMillis: options.connectTimeoutMs,
  keepAlive: true,
});

/**
 * The database could not be reached, or the connection broke. The driver reports these as plain errors without a code that
 * nothing tells from a bug; here, where they come from, they get a class of their own.
 */
export class ConnectionFailure extends Error {}

/** Answers of Postgres have a severity; bugs are subclasses of Error; plain errors come from the connection. */
function named(error: unknown): unknown {
  const isConnection =
    error instanceof Error &&
    !("severity" in error) &&
    (error.constructor === Error || error instanceof AggregateError);
  return isConnection ? new ConnectionFailure(error.message || String(error), { cause: error }) : error;
}

/** `settings` hold for each of its connections, as `name = value`. */
export function createPool(options: DatabaseOptions, settings: readonly string[] = []): Pool {
  const pool = new pg.Pool({
    ...base(options),
    max: options.poolSize,
    statement_timeout: options.statementTimeoutMs,
    query_timeout: options.statementTimeoutMs + 2000,
    onConnect: async (client) => {
      if (settings.length > 0) await client.query(settings.map((setting) => `set ${setting}`).join(";"));
    },
  });
  pool.on("error", options.onError);
  pool.on("connect", (client) => {
    // The pool listens to idle connections only. One that breaks within a transaction would end the process, though the
    // statement that fails says it.
    client.on("error", () => {});
    client.query = naming(client.query.bind(client));
  });
  pool.query = naming(pool.query.bind(pool));
  pool.connect = naming(pool.connect.bind(pool));
  return pool;
}

/** The same, with failures named. Calls with a callback, which the pool makes itself, are left as they are. */
function naming<F>(call: F): F {
  return ((...args: unknown[]) => {
    const answer: unknown = Reflect.apply(call as (...args: unknown[]) => unknown, undefined, args);
    if (!(answer instanceof Promise)) return answer;
    return answer.catch((error: unknown) => {
      throw named(error);
    });
  }) as F;
}

/** A connection for `append`. `lock_timeout` bounds the wait for a locked stream: it delays its group, not for ever. */
export function createCommitClient(options: DatabaseOptions, lockTimeoutMs: number): Client {
  const client = new pg.Client({
    ...base(options),
    statement_timeout: options.statementTimeoutMs,
    query_timeout: options.statementTimeoutMs + 2000,
    lock_timeout: lockTimeoutMs,
  });
  client.on("error", options.onError);
  return client;
}
