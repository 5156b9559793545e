/**
 * The log: JSON lines on stderr, written beside the event loop. A line waits at most a tenth of a second for others; what is
 * there is written before the process ends, however it does (but for a kill -9), and a fatal line at once. If nobody takes
 * them, at most 8 MiB wait; what comes beyond is counted and told later, so a full pipe costs lines and never memory or time.
 *
 * Nothing secret is logged on purpose. The names below are left out all the same, should one come along in an error.
 */
import { type DestinationStream, type Logger, pino, stdTimeFunctions } from "pino";

export interface RunningLog {
  readonly log: Logger;
  /** Writes what waits; lines that come later are written at the end of the process. */
  close(): void;
}

/** Lines are written together, each time so many bytes at most: a write costs the loop as much as ten lines. */
const bufferBytes = 32 * 1024;
const writeBytes = 64 * 1024;
const flushMs = 100;
const mostWaitingBytes = 8 * 1024 * 1024;

/** Names that hold credentials, and parts of Postgres' errors that quote values. */
const secrets = [
  "authorization",
  "access_token",
  "headers.authorization",
  "err.detail",
  "err.where",
  "err.internalQuery",
  "err.parameters",
  "err.headers",
  "err.metadata",
];

/** `to`: elsewhere than stderr, for tests. */
export function openLog(level: string, to?: DestinationStream): RunningLog {
  const options = {
    level,
    redact: { paths: secrets, censor: "[redacted]" },
    timestamp: stdTimeFunctions.epochTime,
  };
  if (to !== undefined) return { log: pino(options, to), close() {} };
  const destination = pino.destination({
    fd: 2,
    sync: false,
    minLength: bufferBytes,
    maxWrite: writeBytes,
    maxLength: mostWaitingBytes,
  });
  let isWaiting = false;
  const hooks = {
    streamWrite(line: string) {
      isWaiting = true;
      return line;
    },
  };
  const log = pino({ ...options, hooks }, destination);
  let dropped = 0;
  destination.on("drop", () => dropped++);
  const timer = setInterval(() => {
    if (isWaiting) destination.flush();
    isWaiting = false;
    if (dropped === 0) return;
    const lines = dropped;
    dropped = 0;
    log.warn({ lines }, "lines of the log were dropped: nobody took them fast enough");
  }, flushMs);
  timer.unref();
  return {
    log,
    close() {
      clearInterval(timer);
      destination.flushSync();
    },
  };
}
