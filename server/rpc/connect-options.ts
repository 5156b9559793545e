/** How Connect is set up for every RPC; the conformance tests serve their drill by the same. */
import type { Interceptor } from "@connectrpc/connect";
import type { ConnectNodeAdapterOptions } from "@connectrpc/connect-node";
import { limits } from "../core/limits.ts";
import { auditInterceptor, type WriteAudit } from "./audit.ts";
import { compressions } from "./compressions.ts";
import type { LogBug } from "./error-mapping.ts";
import { errorInterceptor } from "./interceptors.ts";
import { validationInterceptor } from "./validation.ts";

/** Around every call, also those that Connect does not serve; the outermost first. */
export const outerInterceptors = (audit: WriteAudit, logBug: LogBug): readonly Interceptor[] => [
  auditInterceptor(audit),
  errorInterceptor(logBug),
];

export const connectOptions = (outer: readonly Interceptor[]): Omit<ConnectNodeAdapterOptions, "routes"> => ({
  interceptors: [...outer, validationInterceptor],
  readMaxBytes: limits.messageBytesIn,
  writeMaxBytes: limits.messageBytesIn,
  // Compressed requests are taken. Answers are not compressed: small messages gain nothing, Brotli at its default
  // takes a second a MiB, and a compressor's buffers would hide a slow reader.
  compressMinBytes: Number.MAX_SAFE_INTEGER,
  acceptCompression: compressions,
});
