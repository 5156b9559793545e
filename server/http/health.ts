/** `GET /healthz`: the process is alive. `GET /readyz`: it can serve; a load balancer asks this one. */
import type { Http2ServerResponse } from "node:http2";
import { answerJson } from "./answer.ts";

export interface Readiness {
  /** undefined: well. Else why not, for people. */
  readonly notReady: () => Promise<string | undefined>;
  /** undefined: well. Else what works worse; served all the same. */
  readonly degraded: () => string | undefined;
}

export function serveHealthz(response: Http2ServerResponse): void {
  answerJson(response, 200, { status: "alive" });
}

export async function serveReadyz(
  response: Http2ServerResponse,
  { notReady, degraded }: Readiness,
): Promise<void> {
  const reason = await notReady();
  if (reason !== undefined) return answerJson(response, 503, { status: reason });
  const worse = degraded();
  answerJson(response, 200, { status: worse === undefined ? "ready" : `degraded: ${worse}` });
}
