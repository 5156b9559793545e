/**
 * A batch's first number in ready bytes. A varint may be longer than it must be, so a place that was made for the largest
 * number takes every other one without moving what follows.
 */
const bytesOfOne = 8;

/** Encode with this number, then find its place. */
export const largestSequence = BigInt(Number.MAX_SAFE_INTEGER);

const placeholder = Buffer.alloc(bytesOfOne);
writeSequence(placeholder, 0, Number.MAX_SAFE_INTEGER);

export function sequencePosition(bytes: Buffer): number {
  const position = bytes.indexOf(placeholder);
  if (position === -1) throw new Error("there is no place for a number");
  return position;
}

export function writeSequence(bytes: Buffer, position: number, sequence: number): void {
  let rest = sequence;
  const last = position + bytesOfOne - 1;
  for (let at = position; at < last; at += 1) {
    bytes[at] = (rest % 128) | 128;
    rest = Math.floor(rest / 128);
  }
  bytes[last] = rest;
}
