/**
 * Postgres' log: Postgres itself appends to `pg.log`, so that it goes on logging when our process is killed;
 * the owner keeps it bounded. At most about twice `maxLogBytes` stay on disk: past the bound the log moves to
 * `pg.log.1` and starts again. (Moved by copy and truncate: Postgres keeps the file open, in append mode. What
 * it writes between the two is lost, which a log may lose.)
 */
import { copyFile, open, stat, truncate } from "node:fs/promises";

/** 16 MiB. */
const maxLogBytes = 16 * 1024 * 1024;
const boundIntervalMs = 60_000;

export async function boundLog(logFile: string, maxBytes: number = maxLogBytes): Promise<void> {
  const size = await logSize(logFile);
  if (size <= maxBytes) return;
  await copyFile(logFile, `${logFile}.1`);
  await truncate(logFile, 0);
}

/** Bounds the log now and then, until the returned function is called. Keeps no process alive. */
export function keepLogBounded(logFile: string, log: (line: string) => void): () => void {
  const timer = setInterval(() => {
    boundLog(logFile).catch((error: unknown) =>
      log(`Postgres' log ${logFile} could not be bounded: ${String(error)}`),
    );
  }, boundIntervalMs);
  timer.unref();
  return () => clearInterval(timer);
}

export async function logSize(logFile: string): Promise<number> {
  return stat(logFile).then(
    ({ size }) => size,
    () => 0,
  );
}

/** The last lines (at most 2 KB) that were logged after `from`, for an error message. */
export async function logTail(logFile: string, from: number): Promise<string> {
  const handle = await open(logFile, "r");
  try {
    const end = (await handle.stat()).size;
    const start = Math.max(end < from ? 0 : from, end - 2048);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(end - start), 0, end - start, start);
    return buffer.subarray(0, bytesRead).toString("utf8").trim();
  } finally {
    await handle.close();
  }
}
