/**
 * The message Bind with its parameters in Postgres' binary format, written by hand into a buffer that is used again. The driver
 * prints arrays as text, and makes a message in buffers that it throws away, each half as large again as the one before: of a group of
 * five hundred events that was half a megabyte for a hundred kilobytes, and all of V8's memory was collected five times a second for it.
 *
 * A whole number that its type cannot hold, and what is no uuid, throws a RangeError, as Postgres would refuse its text.
 */
import pg from "pg";

const { BOOL, INT2, INT4, INT8, FLOAT4, TEXT, UUID } = pg.types.builtins;

const firstBytes = 16 * 1024;
/** What more was needed once is not kept. */
const mostKeptBytes = 512 * 1024;

export class BindMessage {
  #bytes = Buffer.allocUnsafe(firstBytes);
  #end = 0;
  #countAt = 0;
  #count = 0;

  /** Of a prepared statement; its parameters follow, in their order. */
  begin(statement: string): this {
    if (this.#bytes.length > mostKeptBytes) this.#bytes = Buffer.allocUnsafe(firstBytes);
    this.#end = 0;
    this.#count = 0;
    const size = Buffer.byteLength(statement);
    this.#makeRoom(size + 32);
    this.#bytes[0] = "B".charCodeAt(0);
    this.#end = 5; // its length comes last
    this.#bytes[this.#end++] = 0; // the portal without a name
    this.#end += this.#bytes.write(statement, this.#end);
    this.#bytes[this.#end++] = 0;
    this.#int2(1); // one format for all parameters:
    this.#int2(1); // binary
    this.#countAt = this.#end;
    this.#end += 2;
    return this;
  }

  /** The whole message: a view, until it begins anew. */
  finish(): Buffer {
    this.#makeRoom(8);
    this.#int2(1); // one format for all columns of the answer:
    this.#int2(0); // text
    const end = this.#end;
    this.#end = this.#countAt;
    this.#int2(this.#count);
    this.#end = 1;
    this.#int4(end - 1);
    return this.#bytes.subarray(0, end);
  }

  null(): this {
    this.#makeRoom(4);
    this.#int4(-1);
    this.#count++;
    return this;
  }

  json(value: unknown): this {
    const text = JSON.stringify(value);
    const size = 1 + Buffer.byteLength(text);
    this.#beginValue(size);
    this.#bytes[this.#end++] = 1; // its version
    this.#end += this.#bytes.write(text, this.#end);
    return this;
  }

  /** The parts, one after the other, which have `size` bytes together. */
  bytes(parts: Iterable<string | Uint8Array>, size: number): this {
    // With room for a character more, which is noticed; where there is none, less would be written without a word. For both at once:
    // each time that it grows costs a buffer.
    this.#makeRoom(4 + size + 4);
    this.#beginValue(size);
    const end = this.#end + size;
    for (const part of parts) {
      if (typeof part === "string") this.#end += this.#bytes.write(part, this.#end);
      else {
        this.#bytes.set(part, this.#end);
        this.#end += part.byteLength;
      }
    }
    if (this.#end !== end) throw new RangeError(`${this.#end - end} bytes more than ${size}`);
    return this;
  }

  // --- arrays: a loop for each type, since one that is told what to write takes three times as long

  booleans(values: readonly boolean[]): this {
    let at = this.#beginArray(BOOL, values.length, values.length);
    const bytes = this.#bytes;
    for (let i = 0; i < values.length; i++, at += 5) {
      writeInt4(bytes, at, 1);
      bytes[at + 4] = values[i] ? 1 : 0;
    }
    this.#end = at;
    return this;
  }

  int2s(values: readonly number[]): this {
    let at = this.#beginArray(INT2, values.length, values.length * 2);
    const bytes = this.#bytes;
    for (let i = 0; i < values.length; i++, at += 6) {
      const value = values[i] as number;
      if ((value << 16) >> 16 !== value) throw outOfRange("smallint", value);
      writeInt4(bytes, at, 2);
      writeInt2(bytes, at + 4, value);
    }
    this.#end = at;
    return this;
  }

  int4s(values: readonly number[]): this {
    let at = this.#beginArray(INT4, values.length, values.length * 4);
    const bytes = this.#bytes;
    for (let i = 0; i < values.length; i++, at += 8) {
      const value = values[i] as number;
      if ((value | 0) !== value) throw outOfRange("int", value);
      writeInt4(bytes, at, 4);
      writeInt4(bytes, at + 4, value);
    }
    this.#end = at;
    return this;
  }

  /** Of whole numbers below 2^53, which are exact. */
  int8s(values: readonly number[]): this {
    let at = this.#beginArray(INT8, values.length, values.length * 8);
    const bytes = this.#bytes;
    for (let i = 0; i < values.length; i++, at += 12) {
      const value = values[i] as number;
      if (!Number.isSafeInteger(value)) throw outOfRange("bigint", value);
      writeInt4(bytes, at, 8);
      writeInt4(bytes, at + 4, Math.floor(value / 2 ** 32));
      writeInt4(bytes, at + 8, value);
    }
    this.#end = at;
    return this;
  }

  float4s(values: readonly number[]): this {
    this.#beginArray(FLOAT4, values.length, values.length * 4);
    for (let i = 0; i < values.length; i++) {
      this.#int4(4);
      this.#end = this.#bytes.writeFloatBE(values[i] as number, this.#end);
    }
    return this;
  }

  /** Hexadecimal digits, with hyphens anywhere. */
  uuids(values: readonly string[]): this {
    this.#beginArray(UUID, values.length, values.length * 16);
    for (const value of values) {
      this.#int4(16);
      const digits = value.replaceAll("-", "");
      if (digits.length !== 32 || this.#bytes.write(digits, this.#end, "hex") !== 16) {
        throw outOfRange("uuid", value);
      }
      this.#end += 16;
    }
    return this;
  }

  /** Of text with U+0000 Postgres says that it is none. */
  texts(values: readonly string[]): this {
    const sizes = values.map((value) => Buffer.byteLength(value));
    const size = sizes.reduce((sum, of) => sum + of, 0);
    this.#beginArray(TEXT, values.length, size);
    for (const [i, value] of values.entries()) {
      this.#int4(sizes[i] as number);
      this.#end += this.#bytes.write(value, this.#end);
    }
    return this;
  }

  /** Where the first element comes. `size`: of all, each of which has its length before it. An array without any has no dimension. */
  #beginArray(oid: number, count: number, size: number): number {
    this.#beginValue(count === 0 ? 12 : 20 + 4 * count + size);
    this.#int4(count === 0 ? 0 : 1);
    this.#int4(0); // without nulls
    this.#int4(oid);
    if (count === 0) return this.#end;
    this.#int4(count);
    this.#int4(1); // index of the first
    return this.#end;
  }

  #beginValue(size: number): void {
    this.#makeRoom(4 + size);
    this.#int4(size);
    this.#count++;
  }

  #makeRoom(size: number): void {
    const needed = this.#end + size;
    if (needed <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2));
    this.#bytes.copy(grown, 0, 0, this.#end);
    this.#bytes = grown;
  }

  #int2(value: number): void {
    writeInt2(this.#bytes, this.#end, value);
    this.#end += 2;
  }

  #int4(value: number): void {
    writeInt4(this.#bytes, this.#end, value);
    this.#end += 4;
  }
}

// Of what is larger the lower half.

function writeInt2(bytes: Buffer, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

function writeInt4(bytes: Buffer, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

const outOfRange = (type: string, value: unknown) => new RangeError(`${value} is no ${type}`);
