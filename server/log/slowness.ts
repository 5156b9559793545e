/** Warnings of what is slow: which stream, whose, how far. At most a few a minute of each kind; how many were left out is said. */
import type { Logger } from "pino";
import type { SlowCommit } from "../core/appender.ts";
import type { FarBehind } from "../core/system/lag-watch.ts";
import { Occasionally } from "./occasionally.ts";

export interface Slowness {
  readonly slowCommit: (commit: SlowCommit) => void;
  readonly farBehind: (found: FarBehind) => void;
}

const most = 10;
const perMs = 60_000;

export function createSlowness(log: Logger, now: () => number): Slowness {
  const warn = <T extends object>(message: string, toFields: (found: T) => object) => {
    const occasionally = new Occasionally(most, perMs, now);
    return (found: T) => {
      const leftOut = occasionally.next();
      if (leftOut === undefined) return;
      log.warn({ ...toFields(found), ...(leftOut > 0 ? { leftOut } : {}) }, message);
    };
  };
  return {
    slowCommit: warn("a commit was slow", ({ tookMs, waitedMs, ...about }: SlowCommit) => ({
      ...about,
      tookMs: Math.round(tookMs),
      waitedMs: Math.round(waitedMs),
    })),
    farBehind: warn("a reader is far behind", ({ owner, ...about }: FarBehind) => ({ ...about, ...owner })),
  };
}
