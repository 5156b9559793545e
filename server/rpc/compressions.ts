/**
 * How requests may be compressed: gzip and Brotli, as Connect has them. Bytes that are neither are the caller's mistake, however
 * they are wrong: Connect knows some of the ways in which zlib says so, and calls the others a bug of this server.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";

type Compression = typeof compressionGzip;

const blamingTheCaller = (compression: Compression): Compression => ({
  ...compression,
  async decompress(bytes, readMaxBytes) {
    try {
      return await compression.decompress(bytes, readMaxBytes);
    } catch (error) {
      if (error instanceof ConnectError && error.code === Code.ResourceExhausted) throw error;
      throw new ConnectError(
        `the message is not ${compression.name}: it cannot be unpacked`,
        Code.InvalidArgument,
      );
    }
  },
});

export const compressions: readonly Compression[] = [compressionGzip, compressionBrotli].map(
  blamingTheCaller,
);
