/**
 * A guest's link: `#/shared/<workflow>/<stream token>`. The token is in the fragment, so it is in no request's path or query and in no
 * server's log; it is taken out of the address bar as soon as it was read.
 */
export interface SharedLink {
  readonly workflowId: string;
  readonly token: string;
}

export function readSharedLink(hash: string): SharedLink | undefined {
  const [, workflowId, token] = /^#\/?shared\/([0-9a-f-]{36})\/([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(hash) ?? [];
  return workflowId === undefined || token === undefined
    ? undefined
    : { workflowId: workflowId.toLowerCase(), token };
}

export const toSharedLink = ({ workflowId, token }: SharedLink): string =>
  `${location.origin}${location.pathname}#/shared/${workflowId}/${token}`;

/** What a stream token says of itself. The server alone decides whether it is true. */
export interface TokenClaims {
  readonly tenant: string;
  readonly workflowIds: readonly string[];
  readonly includesVariables: boolean;
  readonly expiresMs: number;
}

export function readClaims(token: string): TokenClaims | undefined {
  try {
    const [, claims = ""] = token.split(".");
    const bytes = Uint8Array.from(atob(claims.replaceAll("-", "+").replaceAll("_", "/")), (c) =>
      c.charCodeAt(0),
    );
    const { sub, wfs, vars, exp } = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof sub !== "string" || !Array.isArray(wfs)) return undefined;
    return {
      tenant: sub,
      workflowIds: wfs.map(String),
      includesVariables: vars === true,
      expiresMs: Number(exp) * 1000,
    };
  } catch {
    return undefined; // no token of this service
  }
}
