/** `GET /metrics`: the state of this instance as Prometheus reads it. */
import type { Http2ServerResponse } from "node:http2";
import { securityHeaders } from "./security-headers.ts";

export interface MetricsRoute {
  readonly contentType: string;
  readonly text: () => Promise<string>;
}

export async function serveMetrics(response: Http2ServerResponse, metrics: MetricsRoute): Promise<void> {
  const text = await metrics.text();
  response.writeHead(200, {
    "content-type": metrics.contentType,
    "cache-control": "no-store",
    ...securityHeaders(),
    "content-length": String(Buffer.byteLength(text)),
  });
  response.end(text);
}
