/**
 * What NATS delivers, on its way to one instance: messages that get lost, come twice or out of order while there is noise.
 * Everything else of the protocol passes as it is.
 */
import type { Random } from "../../support/random.ts";
import type { Filter } from "./link.ts";

export interface Noise {
  /** Of so many messages one is lost, doubled or late; 0: none. */
  level: number;
  /** All messages are lost. */
  deaf: boolean;
  readonly random: Random;
  /** How many it has touched. */
  touched: number;
}

export const quiet = (random: Random): Noise => ({ level: 0, deaf: false, random, touched: 0 });

const newline = Buffer.from("\r\n");

/** The way down of one connection. */
export function addNoise(noise: Noise): Filter {
  let rest: Buffer = Buffer.alloc(0);
  let late: Buffer | undefined;
  const pass = (message: Buffer): Buffer[] => {
    if (noise.deaf) {
      noise.touched++;
      return [];
    }
    if (noise.level === 0 || !noise.random.chance(noise.level)) {
      const held = late;
      late = undefined;
      return held === undefined ? [message] : [message, held];
    }
    noise.touched++;
    const dice = noise.random.next();
    if (dice < 0.5) return [];
    if (dice < 0.75) return [message, message];
    const held = late;
    late = message;
    return held === undefined ? [] : [held];
  };
  return (chunk) => {
    rest = rest.byteLength === 0 ? chunk : Buffer.concat([rest, chunk]);
    const out: Buffer[] = [];
    let at = 0;
    for (;;) {
      const lineEnd = rest.indexOf(newline, at);
      if (lineEnd === -1) break;
      const line = rest.toString("latin1", at, lineEnd);
      const isMessage = /^H?MSG /i.test(line);
      const end = lineEnd + 2 + (isMessage ? Number(line.trim().split(/\s+/).at(-1)) + 2 : 0);
      if (end > rest.byteLength) break;
      // A copy: what is late outlives the chunk.
      if (isMessage) out.push(...pass(Buffer.from(rest.subarray(at, end))));
      else out.push(rest.subarray(at, end));
      at = end;
    }
    rest = rest.subarray(at);
    return Buffer.concat(out);
  };
}
