/**
 * Whom a request is for. Exactly one host, which is one: what comes after builds an address of it, and in development mode
 * decides by it who may call. The address of an absolute request target counts, not the field Host (RFC 9112, 3.2.2).
 */
import type { Http2ServerRequest } from "node:http2";

/** A name or an address, and a port. No user, path or encoded character: they make what reads well point elsewhere. */
const plainHost = /^(?:[\w.~-]+|\[[\da-f:.]+\])(?::\d{1,5})?$/i;

/** The host; or what is wrong with it. Brings an absolute target into the usual form. */
export function findHost(request: Http2ServerRequest): { host: string } | { mistake: string } {
  const names = hostsOf(request);
  const [host = ""] = names;
  if (names.length === 0) return { mistake: "Host: missing" };
  if (names.some((name) => name.toLowerCase() !== host.toLowerCase())) {
    return {
      mistake: `Host: there must be one; found ${names.map((name) => JSON.stringify(name.slice(0, 80))).join(" and ")}`,
    };
  }
  if (host === lastGood) return { host };
  if (!plainHost.test(host) || !URL.canParse(`http://${host}`))
    return { mistake: `Host: ${JSON.stringify(host.slice(0, 80))} is no host` };
  lastGood = host;
  return { host };
}

/** Nearly always the next one too. */
let lastGood = "";

function hostsOf(request: Http2ServerRequest): string[] {
  const { rawHeaders, headers } = request;
  const [target, named] = /^https?:\/\/([^/?#]*)/i.exec(request.url) ?? [];
  if (target !== undefined && named !== undefined) {
    request.url = request.url.slice(target.length).replace(/^(?!\/)/, "/");
    headers.host = named;
    return [named];
  }
  const authority = headers[":authority"];
  const names = authority === undefined ? [] : [authority];
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]?.toLowerCase() === "host") names.push(rawHeaders[i + 1] ?? "");
  return names;
}
