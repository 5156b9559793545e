/**
 * A row in Postgres' binary format: the number of its columns in two bytes, then each of them, its length in four bytes (-1: null)
 * before it. A column's position is that of its length.
 */

/** The bytes of rows. A view reads their integers several times as fast as a Buffer does. */
export class RowBytes {
  readonly bytes: Buffer;
  readonly view: DataView;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
}

export interface BinaryRow {
  readonly of: RowBytes;
  readonly start: number;
  readonly end: number;
}

/** Where the first column is, from the start of a row. */
export const columnsAt = 2;

/** Bytes of the column; -1: it is null. */
export const sizeOf = ({ view }: RowBytes, at: number): number => view.getInt32(at);

export const isNull = (of: RowBytes, at: number): boolean => sizeOf(of, at) === -1;

/** The column after this one. */
export const columnAfter = (of: RowBytes, at: number): number => at + 4 + Math.max(0, sizeOf(of, at));

/** Values of a column of a known type that is not null. */
export const int2 = ({ view }: RowBytes, at: number): number => view.getInt16(at + 4);
/** Exact up to 2^53. */
export const int8 = ({ view }: RowBytes, at: number): number =>
  view.getInt32(at + 4) * 2 ** 32 + view.getUint32(at + 8);
export const boolean = ({ bytes }: RowBytes, at: number): boolean => bytes[at + 4] === 1;
/** A view. */
export const content = (of: RowBytes, at: number): Buffer =>
  of.bytes.subarray(at + 4, at + 4 + sizeOf(of, at));
export const utf8 = (bytes: Buffer): string => bytes.toString("utf8");
export const uuid = (bytes: Buffer): string =>
  bytes.toString("hex").replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");

/** Texts of a column that mostly is the same from row to row: what it was last is the same string again. */
export class SameText {
  readonly #toText: (bytes: Buffer) => string;
  #last: Buffer = Buffer.alloc(0);
  #text: string;

  constructor(toText: (bytes: Buffer) => string) {
    this.#toText = toText;
    this.#text = toText(this.#last);
  }

  of(of: RowBytes, at: number): string {
    const size = sizeOf(of, at);
    let isSame = this.#last.length === size;
    // A loop: for so few bytes a call into the runtime is dearer.
    for (let i = 0; isSame && i < size; i++) isSame = this.#last[i] === of.bytes[at + 4 + i];
    if (!isSame) {
      this.#last = Buffer.from(content(of, at));
      this.#text = this.#toText(this.#last);
    }
    return this.#text;
  }
}
