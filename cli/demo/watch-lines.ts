/** How to watch the demo's run in a browser, and from another terminal. */
import type { TributaryClient } from "../../client/index.ts";

export interface WatchLines {
  /** The console, at this run. */
  readonly page: string;
  readonly curl: string;
  readonly tail: string;
}

export async function toWatchLines(
  client: TributaryClient,
  server: { readonly url: string; readonly key: string | undefined },
  workflowId: string,
): Promise<WatchLines> {
  const { url, key = "" } = server;
  const tenant = await findTenant(client, workflowId);
  const path = `/api/tenants/${tenant}/stream/workflows/${workflowId}/consolidated`;
  return {
    page: `${url}/#/workflows/${workflowId}`,
    curl: `curl -N -H 'Authorization: Bearer ${key}' ${url}${path}`,
    tail: `TRIBUTARY_URL=${url} TRIBUTARY_API_KEY=${key} npm run -s tributary -- tail ${workflowId}`,
  };
}

/** A key does not say whose it is; a token made with it does: its subject is the tenant. */
async function findTenant({ tokens }: TributaryClient, workflowId: string): Promise<string> {
  const { token } = await tokens.createStreamToken({ workflowIds: [workflowId], ttlSeconds: 1 });
  const [, claims = ""] = token.split(".");
  const { sub } = JSON.parse(Buffer.from(claims, "base64url").toString()) as { sub: string };
  return sub;
}
