/** Bytes in the wire format, written one after the other: what the encoders by hand share. */
/** Bytes of a field of so many bytes: tag, length, content. */
export const delimited = (size: number): number => 1 + varintSize(size) + size;

/** Bytes of an integer from 0 to 2^53-1. */
export function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) size++;
  return size;
}

/** Bytes of a size that is known before. */
export class Output {
  readonly bytes: Buffer;
  #at = 0;

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafe(size);
  }

  envelope(size: number, flags = 0): void {
    this.bytes[this.#at] = flags;
    this.bytes.writeUInt32BE(size, this.#at + 1);
    this.#at += 5;
  }

  varint(value: number): void {
    let rest = value;
    // Division until the bit operators, which know 32 bits, can go on.
    for (; rest > 0x7fffffff; rest = Math.floor(rest / 128)) this.bytes[this.#at++] = (rest % 128) | 128;
    for (; rest >= 128; rest >>>= 7) this.bytes[this.#at++] = (rest & 127) | 128;
    this.bytes[this.#at++] = rest;
  }

  header(tag: number, size: number): void {
    this.bytes[this.#at++] = tag;
    this.varint(size);
  }

  /** Bytes written so far. */
  get size(): number {
    return this.#at;
  }

  /** The same bytes again that were written from there on. */
  again(from: number, size: number): void {
    this.bytes.copyWithin(this.#at, from, from + size);
    this.#at += size;
  }

  raw(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.#at);
    this.#at += bytes.byteLength;
  }

  number(tag: number, value: number): void {
    if (value !== 0) this.header(tag, value);
  }

  /** Short and mostly ASCII: a loop is cheaper than a call into the runtime. */
  text(tag: number, text: string): void {
    if (text === "") return;
    const size = Buffer.byteLength(text);
    this.header(tag, size);
    if (size === text.length) {
      for (let i = 0; i < size; i++) this.bytes[this.#at++] = text.charCodeAt(i);
    } else {
      this.#at += this.bytes.write(text, this.#at, "utf8");
    }
  }

  /** Without a header. */
  longText(text: string, size: number): void {
    this.bytes.write(text, this.#at, "utf8");
    this.#at += size;
  }
}
