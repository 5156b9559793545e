/** Messages of a stream in the Connect protocol: a byte of flags, four of length, the content. */
export const endOfStream = 2;

export function envelope(content: string, flags = 0): Buffer {
  const bytes = Buffer.from(content);
  const head = Buffer.alloc(5);
  head.writeUInt8(flags, 0);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

export interface Envelope {
  readonly flags: number;
  readonly content: string;
}

/** The envelopes that are complete, and what is left. */
export function openEnvelopes(bytes: Buffer): { envelopes: Envelope[]; rest: Buffer } {
  const envelopes: Envelope[] = [];
  let at = 0;
  while (bytes.length >= at + 5) {
    const end = at + 5 + bytes.readUInt32BE(at + 1);
    if (bytes.length < end) break;
    envelopes.push({ flags: bytes.readUInt8(at), content: bytes.toString("utf8", at + 5, end) });
    at = end;
  }
  return { envelopes, rest: bytes.subarray(at) };
}
