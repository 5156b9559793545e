/**
 * Rows cut from a socket, however the network cuts the answer, and what else comes is the driver's: every byte of it once and in
 * order. The messages are those of the protocol's documentation; against Postgres itself: binary-rows.test.ts.
 */
import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { takeRows } from "../../db/row-socket.ts";
import { Random, seeds } from "../support/random.ts";

function message(code: string, content: Uint8Array | string = ""): Buffer {
  const bytes = Buffer.from(content);
  const head = Buffer.alloc(5, code);
  head.writeUInt32BE(4 + bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

const parsed = message("1");
const bound = message("2");
const described = message("T", "columns");
const notice = message("N", "SNOTICE\0Mhere\0\0");
const parameter = message("S", "name\0value\0");
const row = (content: Uint8Array | string) => message("D", content);
const complete = message("C", "SELECT 3\0");
const failed = message("E", "SERROR\0\0");
const ready = message("Z", "I");

/** A socket with its driver. Chunks arrive when `send` is called. */
function aSocket() {
  const socket = new PassThrough();
  const driven: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => driven.push(Buffer.from(chunk)));
  const rows: string[] = [];
  return {
    rows,
    take: () => takeRows(socket, ({ of, start, end }) => rows.push(of.bytes.toString("latin1", start, end))),
    send(...chunks: Buffer[]) {
      for (const chunk of chunks) {
        socket.emit("data", Buffer.from(chunk));
        chunk.fill(0);
      }
    },
    driven: () => Buffer.concat(driven).toString("latin1"),
    listeners: () => socket.listenerCount("data"),
  };
}

/** In pieces of the given sizes, and the rest. */
function cut(bytes: Buffer, sizes: Iterable<number>): Buffer[] {
  const chunks: Buffer[] = [];
  let at = 0;
  for (const size of sizes) {
    if (at >= bytes.length) break;
    chunks.push(Buffer.from(bytes.subarray(at, at + size)));
    at += size;
  }
  if (at < bytes.length) chunks.push(Buffer.from(bytes.subarray(at)));
  return chunks;
}

const text = (...messages: Buffer[]) => Buffer.concat(messages).toString("latin1");

test("whole answers: rows are taken, the rest is the driver's, one answer after the other", () => {
  const socket = aSocket();
  socket.take();
  socket.send(Buffer.concat([parsed, bound, described, row("a"), row(""), row("c"), complete, ready]));
  expect(socket.rows).toEqual(["a", "", "c"]);
  socket.take();
  socket.send(Buffer.concat([bound, described, row("d"), notice, row("e"), failed, ready]));
  expect(socket.rows).toEqual(["a", "", "c", "d", "e"]);
  expect(socket.driven()).toBe(
    text(parsed, bound, described, complete, ready, bound, described, notice, failed, ready),
  );
  // Nobody takes the next one.
  const other = Buffer.concat([described, row("f"), complete, ready]);
  socket.send(Buffer.from(other));
  expect(socket.rows).toHaveLength(5);
  expect(socket.driven().endsWith(text(other))).toBe(true);
  expect(socket.listeners()).toBe(1);
});

test("an answer is cut at each of its bytes once it has begun", () => {
  const answer = Buffer.concat([bound, described, row("ab"), parameter, row("c"), complete, ready]);
  for (let first = bound.length; first < answer.length; first++) {
    for (const size of [1, 2, 7, answer.length]) {
      const socket = aSocket();
      socket.take();
      socket.send(...cut(answer, [first, ...Array.from({ length: answer.length }, () => size)]));
      expect(socket.rows).toEqual(["ab", "c"]);
      expect(socket.driven()).toBe(text(bound, described, parameter, complete, ready));
      expect(socket.listeners()).toBe(1);
    }
  }
});

test("what Postgres says at any time may come first", () => {
  const socket = aSocket();
  socket.take();
  socket.send(Buffer.concat([parameter, notice, bound, row("a"), complete, ready]));
  expect(socket.rows).toEqual(["a"]);
  expect(socket.driven()).toBe(text(parameter, notice, bound, complete, ready));
});

test.each([
  ["in the middle of a message", Buffer.concat([parameter, bound, row("a"), complete, ready]).subarray(3)],
  ["with what no answer begins with", Buffer.concat([described, row("a"), complete, ready])],
  ["with an error", Buffer.concat([failed, ready])],
  ["with less than a message", bound.subarray(0, 3)],
  ["with less than its first message", parameter.subarray(0, 7)],
])("an answer that begins %s is the driver's, whole", (_, answer) => {
  const socket = aSocket();
  socket.take();
  const before = text(answer);
  socket.send(Buffer.from(answer));
  expect(socket.rows).toEqual([]);
  expect(socket.driven()).toBe(before);
  expect(socket.listeners()).toBe(1);
});

test.each(seeds(3))("rows of any size, cut anywhere, lie in one buffer, seed %i", (seed) => {
  const random = new Random(seed);
  for (let round = 0; round < 20; round++) {
    const contents = Array.from({ length: random.below(200) }, (_, i) =>
      String.fromCharCode(33 + (i % 90)).repeat(random.pick([0, 1, 100, 5000, 70_000])),
    );
    const asides = contents.filter(() => random.below(10) === 0).length;
    const messages = contents.map(row);
    for (let n = 0; n < asides; n++) messages.splice(random.below(messages.length), 0, notice);
    const answer = Buffer.concat([bound, ...messages, complete, ready]);
    const socket = aSocket();
    const sizes = Array.from({ length: 5000 }, () => random.pick([8192, 8192, 1, 5, 65_536, 100]));
    socket.take();
    socket.send(...cut(answer, [bound.length + random.below(9000), ...sizes]));
    expect(socket.rows).toEqual(contents);
    expect(socket.driven().length).toBe(text(bound, complete, ready).length + asides * notice.length);
  }
});
