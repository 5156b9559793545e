/** The position of an event, read from its bytes without decoding it: in protobuf by its tag, in JSON by its name. */
import { Cursor, numberTag } from "./cursor.ts";

/** Event.offset. */
const offset = numberTag(3);
const name = Buffer.from('"offset":');

const cursor = new Cursor();

/** Of an Event in bytes[start, end); 0 if it has none. */
export function readOffset(bytes: Buffer, start: number, end: number): number {
  cursor.open(bytes);
  cursor.at = start;
  while (cursor.at < end) {
    const tag = cursor.number();
    if (tag === offset) return cursor.number();
    cursor.skip(tag);
  }
  return 0;
}

/** Of JSON in bytes[start, end); 0 if it has none. */
export function readJsonOffset(bytes: Buffer, start: number, end: number): number {
  const found = bytes.indexOf(name, start);
  if (found === -1 || found >= end) return 0;
  let value = 0;
  for (let at = found + name.byteLength; at < end; at += 1) {
    const digit = (bytes[at] ?? 0) - 48;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  return value;
}
