/**
 * Reads the updates in the bytes of a WatchVariablesResponse by walking over tags and lengths: which variable, its version,
 * how many older updates it stands for, and when it was set. Values, metadata and everything else are not decoded.
 */
import { Cursor, lengthTag, numberTag } from "./cursor.ts";
import { readStamp } from "./stamp.ts";

/** WatchVariablesResponse.updates, VariableUpdateBatch.updates. */
const updates = lengthTag(2);
const update = lengthTag(1);
/** Fields of VariableUpdate, and of Variable in it. */
const variable = lengthTag(2);
const replaced = numberTag(8);
const name = lengthTag(2);
const value = lengthTag(4);
const version = numberTag(7);

/** Of the variables of the loads: a letter and the number in so many digits. */
const digits = 4;
export const variableName = (n: number): string => `v${String(n).padStart(digits, "0")}`;

export interface ReadUpdate {
  /** Of its name. */
  n: number;
  version: number;
  replaced: number;
  us: number | undefined;
}

const cursor = new Cursor();
const read: ReadUpdate = { n: 0, version: 0, replaced: 0, us: undefined };

/** Calls for each update, always with the same object; returns how many there are, 0 for every other kind of message. */
export function readUpdates(bytes: Buffer, onUpdate: (update: ReadUpdate) => void): number {
  cursor.open(bytes);
  if (cursor.number() !== updates) return 0;
  cursor.number();
  let count = 0;
  while (cursor.at < bytes.byteLength) {
    if (cursor.number() !== update) throw new Error("not a batch of updates");
    readUpdate();
    onUpdate(read);
    count += 1;
  }
  return count;
}

function readUpdate(): void {
  const size = cursor.number();
  const end = cursor.at + size;
  read.replaced = 0;
  while (cursor.at < end) {
    const tag = cursor.number();
    if (tag === variable) readVariable();
    else if (tag === replaced) read.replaced = cursor.number();
    else cursor.skip(tag);
  }
}

function readVariable(): void {
  const size = cursor.number();
  const end = cursor.at + size;
  while (cursor.at < end) {
    const tag = cursor.number();
    if (tag === version) {
      read.version = cursor.number();
      continue;
    }
    const start = cursor.at;
    cursor.skip(tag);
    if (tag === name) read.n = readDigits(cursor.at);
    else if (tag === value) read.us = readStamp(cursor.bytes, start, cursor.at);
  }
}

function readDigits(end: number): number {
  let n = 0;
  for (let at = end - digits; at < end; at += 1) n = n * 10 + (cursor.bytes[at] ?? 48) - 48;
  return n;
}
