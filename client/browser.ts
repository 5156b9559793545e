/**
 * The client for browsers: Connect in binary over `fetch`. Browsers cannot stream requests, so there are no sessions: pages
 * read. Without TLS they speak HTTP/1.1 with six connections to a host in all tabs: then all streams of events share one call.
 */
import { createConnectTransport } from "@connectrpc/connect-web";
import { createCore, type ReadingClient } from "./core.ts";
import type { ClientOptions } from "./options.ts";

export * from "./exports.ts";

export interface BrowserClientOptions extends ClientOptions {
  /** Streams of events share one call. Default: if the address begins with http:, since HTTP/2 needs TLS in browsers. */
  readonly shareCalls?: boolean | undefined;
}

export type TributaryClient = ReadingClient;

export function createTributaryClient(options: BrowserClientOptions): TributaryClient {
  const { client } = createCore(options, {
    connect: (baseUrl, interceptors) => ({
      transport: createConnectTransport({ baseUrl, interceptors, useBinaryFormat: true }),
      close: () => {}, // nothing to close: calls end with their signals
    }),
    sharesCalls: (baseUrl) => options.shareCalls ?? new URL(baseUrl, pageUrl()).protocol === "http:",
  });
  return client;
}

/** Addresses may be relative to the page. */
const pageUrl = (): string | undefined =>
  (globalThis as { readonly location?: { readonly href: string } }).location?.href;
