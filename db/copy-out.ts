/**
 * The rows of a query in Postgres' binary format, by COPY. The driver's own rows are text: each column is printed, sent as text
 * (bytes as hexadecimal digits, twice as long), made a string, and parsed again, which took half the time of a replay. COPY hands
 * over the bytes of a row as they are, one message a row; what becomes of them is the caller's.
 *
 * COPY takes no parameters, so values are literals in its text: `literal` makes them of what cannot break out of one.
 */
import pg from "pg";
import type { Pool } from "./pool.ts";

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export const literal = {
  integer(value: number): string {
    if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is not an integer up to 2^53-1`);
    return String(value);
  },
  uuid(value: string): string {
    if (!uuid.test(value)) throw new RangeError(`"${value}" is not a UUID`);
    return `'${value}'::uuid`;
  },
  /** As hexadecimal digits: nothing in a text can end it, whatever the settings of the server are. */
  text: (value: string): string => `convert_from('\\x${Buffer.from(value).toString("hex")}'::bytea, 'UTF8')`,
};

/** Signature, flags and the length of an extension, before the first row. */
const headBytes = 19;
/** In the place of a row's number of columns: no more rows. */
const end = -1;

/** Runs `copy (query) to stdout`. `onRow` reads a row at once: its bytes are the driver's, which uses them again. */
export async function copyOut(pool: Pool, query: string, onRow: (row: BinaryRow) => void): Promise<void> {
  const copy = new CopyOut(`copy (${query}) to stdout (format binary)`, onRow);
  // The pool waits for whatever can be submitted, though its types know only clients that do not.
  await (pool.query(copy) as unknown as Promise<void>);
  if (copy.failure !== undefined) throw copy.failure;
}

class CopyOut extends pg.Query {
  readonly #onRow: (row: BinaryRow) => void;
  readonly #row = new BinaryRow();
  #isFirst = true;
  /** Thrown while a row was read. It must not be thrown into the driver. */
  failure: unknown;

  constructor(text: string, onRow: (row: BinaryRow) => void) {
    super(text);
    this.#onRow = onRow;
  }

  /** Called by the driver. */
  handleCopyData({ chunk }: { readonly chunk: Buffer }): void {
    if (this.failure !== undefined) return;
    try {
      if (this.#row.begin(chunk, this.#isFirst ? headBytes : 0)) this.#onRow(this.#row);
      this.#isFirst = false;
    } catch (error) {
      this.failure = error;
    }
  }
}

/** The columns of one row, read from left to right, each by its type. undefined: null. */
export class BinaryRow {
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  readonly #uuid = { bytes: Buffer.alloc(16), text: "00000000-0000-0000-0000-000000000000" };

  /** False: it is the end and no row. */
  begin(bytes: Buffer, at: number): boolean {
    this.#bytes = bytes;
    this.#at = at + 2;
    return bytes.readInt16BE(at) !== end;
  }

  /** Its length; undefined: null. */
  #next(): number | undefined {
    const size = this.#int32();
    return size === -1 ? undefined : size;
  }

  #int32(): number {
    const bytes = this.#bytes;
    const at = this.#at;
    this.#at = at + 4;
    if (this.#at > bytes.length) throw new RangeError("a row ends within a column");
    return (
      ((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)
    );
  }

  boolean(): boolean | undefined {
    return this.#next() === undefined ? undefined : this.#bytes[this.#at++] === 1;
  }

  int2(): number | undefined {
    if (this.#next() === undefined) return undefined;
    this.#at += 2;
    return this.#bytes.readInt16BE(this.#at - 2);
  }

  int4(): number | undefined {
    return this.#next() === undefined ? undefined : this.#int32();
  }

  /** Exact up to 2^53. */
  int8(): number | undefined {
    if (this.#next() === undefined) return undefined;
    const high = this.#int32();
    return high * 2 ** 32 + (this.#int32() >>> 0);
  }

  /** Rows that follow one another mostly hold the same one: it is made a string once. */
  uuid(): string | undefined {
    if (this.#next() === undefined) return undefined;
    const at = this.#at;
    this.#at += 16;
    const last = this.#uuid;
    for (let i = 0; i < 16; i++) {
      if (last.bytes[i] === this.#bytes[at + i]) continue;
      this.#bytes.copy(last.bytes, 0, at, at + 16);
      last.text = this.#bytes
        .toString("hex", at, at + 16)
        .replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
      break;
    }
    return last.text;
  }

  /** `last`: what this column held in the row before. If it holds it again it is that same string. */
  text(last?: string): string | undefined {
    const size = this.#next();
    if (size === undefined) return undefined;
    const at = this.#at;
    this.#at += size;
    return last !== undefined && this.#isText(last, at, size)
      ? last
      : this.#bytes.toString("utf8", at, at + size);
  }

  /** A copy. */
  bytes(): Buffer | undefined {
    const size = this.#next();
    if (size === undefined) return undefined;
    this.#at += size;
    return Buffer.from(this.#bytes.subarray(this.#at - size, this.#at));
  }

  /** True for ASCII alone: of other text bytes and characters differ. */
  #isText(text: string, at: number, size: number): boolean {
    if (text.length !== size) return false;
    for (let i = 0; i < size; i++) {
      const byte = this.#bytes[at + i] as number;
      if (byte !== text.charCodeAt(i) || byte > 127) return false;
    }
    return true;
  }
}
