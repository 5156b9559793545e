/** Walks over the tags and lengths of an encoded message, so that what is not asked for is never decoded. */

/** Tag of a field that has a length. */
export const lengthTag = (field: number): number => (field << 3) | 2;
/** Tag of a field that is a whole number. */
export const numberTag = (field: number): number => field << 3;

export class Cursor {
  at = 0;
  bytes: Buffer = Buffer.alloc(0);

  open(bytes: Buffer): void {
    this.bytes = bytes;
    this.at = 0;
  }

  number(): number {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = this.bytes[this.at++] ?? 0;
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  }

  /** Past the field of this tag, which was just read. */
  skip(tag: number): void {
    switch (tag & 7) {
      case 0:
        this.number();
        break;
      case 1:
        this.at += 8;
        break;
      case 2: {
        const size = this.number();
        this.at += size;
        break;
      }
      default:
        throw new Error(`no message has a field of tag ${tag}`);
    }
  }
}
