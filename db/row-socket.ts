/**
 * The rows of a statement, cut from what the connection's socket brings; every other message goes to the driver. The driver would
 * make a string of each column and an object of each row, and hand it over by way of two emitters; of columns in binary its
 * strings are no use at all.
 *
 * The socket is taken over only if the answer begins with whole messages up to the one that every answer begins with, so that
 * nothing can be left in the driver. It is given back before the driver gets the end or an error.
 *
 * All rows of an answer come to lie in one buffer, which is theirs: a buffer for each chunk, kept by its rows, would cost the
 * garbage collector more than they do.
 */
import type { Duplex } from "node:stream";
import { type BinaryRow, RowBytes } from "./binary-row.ts";

/** Messages of Postgres by their first byte. */
const code = (letter: string): number => letter.charCodeAt(0);
const dataRow = code("D");
/** After them there are no more rows. */
const endings: ReadonlySet<number | undefined> = new Set(["C", "E", "s", "I"].map(code));
/** ParseComplete, BindComplete: an answer begins with one of them. */
const beginnings: ReadonlySet<number | undefined> = new Set(["1", "2"].map(code));
/** A parameter, a notice, a notification: Postgres sends them at any time. */
const asides: ReadonlySet<number | undefined> = new Set(["S", "N", "A"].map(code));
/** A message's first byte, and its length, which counts itself. */
const headBytes = 5;

/** What more than a chunk is gathered in at first: a page of small entries. */
const firstBytes = 256 * 1024;

type Listener = (chunk: Buffer) => void;

/** To be called before the statement is sent. `onRow` gets each row before the statement is answered, and must not throw. */
export function takeRows(socket: Duplex, onRow: (row: BinaryRow) => void): void {
  const [driver, ...others] = socket.listeners("data") as Listener[];
  if (driver === undefined || others.length > 0) return;
  const starts: number[] = [];
  const ends: number[] = [];
  let bytes: Buffer = Buffer.alloc(0);
  let size = 0;
  /** Of the message that has not come whole. */
  let at = 0;

  const onAnswer: Listener = (chunk) => {
    const isTaken = beginsAnswer(chunk);
    // Never without a listener: the socket would pause.
    socket.on("data", isTaken ? onChunk : driver);
    socket.off("data", onAnswer);
    if (isTaken) onChunk(chunk);
    else driver(chunk);
  };

  const onChunk: Listener = (chunk) => {
    add(chunk);
    for (let next = nextMessage(bytes, at, size); next !== undefined; next = nextMessage(bytes, at, size)) {
      if (bytes[at] === dataRow) {
        starts.push(at + headBytes);
        ends.push(next);
      } else if (endings.has(bytes[at])) return finish();
      else driver(Buffer.from(bytes.subarray(at, next)));
      at = next;
    }
  };

  function add(chunk: Buffer): void {
    const whole = size + chunk.length;
    if (size === 0) bytes = chunk;
    else {
      if (whole > bytes.length) {
        const larger = Buffer.allocUnsafeSlow(Math.max(firstBytes, 2 * bytes.length, whole));
        bytes.copy(larger, 0, 0, size);
        bytes = larger;
      }
      chunk.copy(bytes, size);
    }
    size = whole;
  }

  function finish(): void {
    socket.on("data", driver as Listener);
    socket.off("data", onChunk);
    const of = new RowBytes(bytes);
    for (let i = 0; i < starts.length; i++) onRow({ of, start: starts[i] as number, end: ends[i] as number });
    driver?.(Buffer.from(bytes.subarray(at, size)));
  }

  socket.on("data", onAnswer);
  socket.off("data", driver);
}

/** Where the message after the one at this place begins; undefined: that one is not there whole. */
function nextMessage(bytes: Buffer, at: number, size: number): number | undefined {
  if (at + headBytes > size) return undefined;
  const next = at + 1 + bytes.readUInt32BE(at + 1);
  return next <= size ? next : undefined;
}

function beginsAnswer(chunk: Buffer): boolean {
  let at = 0;
  while (asides.has(chunk[at])) {
    const next = nextMessage(chunk, at, chunk.length);
    if (next === undefined) return false;
    at = next;
  }
  // Neither has anything in it.
  return beginnings.has(chunk[at]) && nextMessage(chunk, at, chunk.length) === at + headBytes;
}
