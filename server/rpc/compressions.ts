/**
 * What clients may compress with. A message is unpacked up to the size that is taken and no further; and only a few at a time,
 * since each holds as much as it may unpack to: ten thousand small ones that came at once would else hold forty gigabytes.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";

/** As many as Node has threads for it, twice. */
const unpackedAtOnce = 8;

/** Runs at most `most` at once, the others in turn. */
function createTurns(most: number): <T>(run: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (run) => {
    if (running < most) running++;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await run();
    } finally {
      // The place is handed on, so that nobody comes between.
      const next = waiting.shift();
      if (next === undefined) running--;
      else next();
    }
  };
}

const inTurn = createTurns(unpackedAtOnce);

const guarded = (compression: Compression): Compression => ({
  ...compression,
  decompress: (bytes, readMaxBytes) =>
    inTurn(async () => {
      try {
        return await compression.decompress(bytes, readMaxBytes);
      } catch (error) {
        throw blameClient(error, compression.name);
      }
    }),
});

/** Connect knows some of the ways in which zlib says that bytes are broken, and takes the others for its own failure. */
function blameClient(error: unknown, name: string): unknown {
  if (error instanceof ConnectError && error.code === Code.ResourceExhausted) return error;
  return new ConnectError(
    `the message cannot be unpacked: it is not ${name}, or not all of it`,
    Code.InvalidArgument,
  );
}

export const compressions: Compression[] = [guarded(compressionGzip), guarded(compressionBrotli)];
