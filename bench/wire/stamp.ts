/**
 * A time in a payload: a mark and the microseconds as 16 digits, then text up to the wished size. The mark is found and the
 * digits are written and read without decoding the message around it.
 */
export const mark = "@t=";
const digits = 16;

const filler = "and then the model said that it would look at the next file before it answers ";

export function stampedText(us: number, bytes: number): string {
  const head = `${mark}${String(us).padStart(digits, "0")} `;
  return (head + filler.repeat(Math.ceil(bytes / filler.length))).slice(0, Math.max(bytes, head.length));
}

const syllables = ["ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru", "sa", "te"];

/** As above with other words, of some two thousand, for each `n`: for what is indexed by its words. */
export function stampedWords(us: number, bytes: number, n: number): string {
  const words = [`${mark}${String(us).padStart(digits, "0")}`];
  for (let i = 0; words.join(" ").length < bytes; i += 1) {
    const at = (n * 97 + i * 31) % syllables.length ** 3;
    words.push([at, Math.floor(at / 12), Math.floor(at / 144)].map((k) => syllables[k % 12]).join(""));
  }
  return words.join(" ").slice(0, Math.max(bytes, mark.length + digits));
}

/** Where the digits are in these bytes. */
export function stampPositions(bytes: Buffer): number[] {
  const positions: number[] = [];
  for (let found = bytes.indexOf(mark); found !== -1; found = bytes.indexOf(mark, found + 1))
    positions.push(found + mark.length);
  return positions;
}

export function writeStamp(bytes: Buffer, positions: readonly number[], us: number): void {
  const text = String(us).padStart(digits, "0");
  for (const position of positions) bytes.write(text, position, "latin1");
}

/** The time in bytes[start, end), undefined if there is none. */
export function readStamp(bytes: Buffer, start: number, end: number): number | undefined {
  const found = bytes.indexOf(mark, start);
  if (found === -1 || found + mark.length + digits > end) return undefined;
  let us = 0;
  for (let i = found + mark.length; i < found + mark.length + digits; i += 1)
    us = us * 10 + (bytes[i] ?? 48) - 48;
  return us;
}
