/** What happens to bytes on their way: flipped, cut, doubled, moved; and to messages in envelopes. */
import { gzipSync } from "node:zlib";
import type { Random } from "../support/random.ts";

export function mutateBytes(random: Random, bytes: Buffer): Buffer {
  let changed: Buffer = Buffer.from(bytes);
  for (let i = 1 + random.below(4); i > 0; i--) changed = mutateOnce(random, changed);
  return changed;
}

function mutateOnce(random: Random, bytes: Buffer): Buffer {
  if (bytes.length === 0) return Buffer.from([random.below(256)]);
  const at = random.below(bytes.length);
  const other = random.below(bytes.length);
  const [from, to] = at < other ? [at, other] : [other, at];
  switch (random.below(8)) {
    case 0:
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
      return bytes;
    case 1:
      bytes[at] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(256)]);
      return bytes;
    case 2:
      return bytes.subarray(0, at);
    case 3:
      return Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]);
    case 4:
      return Buffer.concat([bytes.subarray(0, to), bytes.subarray(from)]);
    case 5:
      return Buffer.concat([bytes.subarray(to), bytes.subarray(0, to)]);
    case 6:
      return Buffer.concat([
        bytes.subarray(0, at),
        Buffer.from(Array.from({ length: 1 + random.below(9) }, () => random.below(256))),
        bytes.subarray(at),
      ]);
    default:
      bytes.fill(random.below(256), from, Math.min(to, from + 16));
      return bytes;
  }
}

export function envelope(content: Uint8Array, flags = 0, length = content.length): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(length >>> 0, 1);
  return Buffer.concat([head, content]);
}

const flagsSeen = [1, 2, 3, 4, 0x80, 0x81, 0xff];

/** Envelopes of a call, something about one of them being wrong. */
export function mutateEnvelopes(random: Random, messages: readonly Buffer[]): Buffer[] {
  const parts = messages.map((message) => envelope(message));
  const at = random.below(parts.length + 1);
  const message = messages[Math.min(at, messages.length - 1)] ?? Buffer.alloc(0);
  switch (random.below(10)) {
    case 0:
      return parts.with(Math.min(at, parts.length - 1), envelope(message, random.pick(flagsSeen)));
    case 1:
      return [
        ...parts.slice(0, at),
        envelope(
          message,
          0,
          random.pick([
            0,
            1,
            message.length - 1,
            message.length + 1,
            4 * 1024 * 1024 + 1,
            2 ** 31,
            2 ** 32 - 1,
          ]),
        ),
      ];
    case 2:
      return [...parts, ...parts];
    case 3:
      return [];
    case 4:
      return parts.toReversed();
    case 5:
      return [...parts.slice(0, at), envelope(gzipSync(message), 1), ...parts.slice(at)];
    case 6:
      return [...parts.slice(0, at), envelope(Buffer.from("grpc-status: 0\r\n"), 0x80), ...parts.slice(at)];
    case 7:
      return [...parts, envelope(Buffer.from('{"error":{"code":"internal"}}'), 2)];
    case 8:
      return [Buffer.concat(parts).subarray(0, random.below(Buffer.concat(parts).length + 1))];
    default:
      return [...parts.slice(0, at), Buffer.alloc(random.below(6)), ...parts.slice(at)];
  }
}

/** The same bytes in other pieces: what is read must not depend on them. */
export function cutUp(random: Random, parts: readonly Buffer[]): Buffer[] {
  const bytes = Buffer.concat(parts);
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const next = Math.min(bytes.length, at + 1 + random.below(random.pick([1, 5, 50, bytes.length])));
    pieces.push(bytes.subarray(at, next));
    at = next;
    if (pieces.length >= 12) {
      pieces.push(bytes.subarray(at));
      break;
    }
  }
  return pieces;
}
