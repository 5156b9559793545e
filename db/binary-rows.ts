/**
 * The rows of a query in Postgres' binary format. The driver's own rows are text: each column is printed, sent as text (bytes as
 * hexadecimal digits, twice as long), made a string, and parsed again, which took half the time of a replay. These stay bytes;
 * what becomes of them is the caller's.
 */
import pg from "pg";
import type { BinaryRow } from "./binary-row.ts";
import { ConnectionFailure, type Pool } from "./pool.ts";
import { takeRows } from "./row-socket.ts";

export interface Statement {
  /** Planned once on each connection, if it has one: only for statements whose best plan is the same for all values. */
  readonly name: string | undefined;
  readonly text: string;
  readonly values: readonly unknown[];
}

/** A row's bytes stay as they are: it may be read later. */
export async function queryRows(
  pool: Pool,
  statement: Statement,
  onRow: (row: BinaryRow) => void,
): Promise<void> {
  const query = new RowsQuery(statement, onRow);
  // The pool waits for whatever can be submitted, though its types know only clients that do not.
  await (pool.query(query) as unknown as Promise<void>);
  if (query.failure !== undefined) throw query.failure;
}

class RowsQuery extends pg.Query {
  /** Thrown while a row was read. It must not be thrown into the driver. */
  failure: unknown;

  constructor({ name, text, values }: Statement, onRow: (row: BinaryRow) => void) {
    // Extended: the simple protocol has text alone.
    const options = { queryMode: "extended", binary: true };
    super({ text, values: [...values], ...(name === undefined ? {} : { name }), ...options });
    const { submit } = this;
    this.submit = (connection) => {
      takeRows(connection.stream, (row) => {
        if (this.failure !== undefined) return;
        try {
          onRow(row);
        } catch (error) {
          this.failure = error;
        }
      });
      return submit.call(this, connection);
    };
  }

  /** Called by the driver for a row that it got. Its strings are not what was sent. */
  handleDataRow(): void {
    this.failure ??= new ConnectionFailure("the answer could not be taken from the connection: try again");
  }
}
