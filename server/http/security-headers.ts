/**
 * What browsers are told with each answer that one might open as a page: nothing in it is a script, a frame, or worth telling
 * others where one came from. Pages of this server (the console) give their own policy in place of the closed one.
 */
import type { Http2ServerRequest } from "node:http2";
import type { TLSSocket } from "node:tls";

const closed = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

export const securityHeaders = (contentSecurityPolicy = closed): Readonly<Record<string, string>> => ({
  "x-content-type-options": "nosniff",
  "content-security-policy": contentSecurityPolicy,
  "referrer-policy": "no-referrer",
  // Pages of CORS_ORIGINS may read all the same: this is about <img>, <script> and the like.
  "cross-origin-resource-policy": "same-origin",
  // For browsers that do not know frame-ancestors.
  "x-frame-options": "DENY",
});

/** A year, as preload lists ask; not for names beside or below this one, of which the server knows nothing. */
const strictTransport = "max-age=31536000";

/**
 * `strict-transport-security`, or nothing. Only over TLS, where alone browsers heed it; behind a proxy that ends TLS it is the
 * proxy's to say. Never for this machine's own name: it would lock every other port of it to https too.
 */
export function strictTransportSecurity(
  request: Http2ServerRequest,
  isLoopback: boolean,
): string | undefined {
  return !isLoopback && (request.socket as TLSSocket).encrypted ? strictTransport : undefined;
}
