/**
 * The web console: what `vite build` wrote into dist/web, at `/` and `/assets/`. Held in memory (about a megabyte, with the
 * compressed forms that the build made), and read again when the page was built anew; the files of the build before stay, for
 * pages that are open. Not by sirv: it opens files without hearing their errors, so a build beside a running server would
 * end the process.
 *
 * The page needs nothing but its own files: the policy allows no inline script or style, no frame, and no other origin.
 */
import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { extname, join, relative, sep } from "node:path";
import { securityHeaders } from "./security-headers.ts";

export interface ConsoleFiles {
  /** Is this path the console's, whether or not there is such a file? */
  owns(path: string): boolean;
  /** false: there is no such file; nothing was answered. */
  serve(request: Http2ServerRequest, response: Http2ServerResponse, path: string): Promise<boolean>;
}

interface File {
  readonly type: string;
  readonly tag: string;
  readonly bytes: Readonly<Partial<Record<Encoding, Buffer>>> & { readonly identity: Buffer };
}
type Encoding = "identity" | "gzip" | "br";

const page = "/";
const assets = "/assets/";
const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};
const suffixes = { gzip: ".gz", br: ".br" } as const;

/** `data:` for images: the arrows of form controls and the like. */
const contentPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const headersOfAll = {
  ...securityHeaders(contentPolicy),
  "cross-origin-opener-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
  vary: "accept-encoding",
};

/** Said at `/` where nobody has built the console. */
const notBuilt = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Tributary</title>
<h1>The console is not built here</h1><p>Run <code>npm run build:web</code>, then load this page again.</p>
<p>All else works: RPCs, event streams, <a href="/healthz">/healthz</a>, <a href="/metrics">/metrics</a>.</p></html>\n`;

export function createConsole(folder: string): ConsoleFiles {
  let files: ReadonlyMap<string, File> = new Map();
  let builtMs: number | undefined;
  let reading: Promise<void> | undefined;

  /** Reads the folder if the page in it is another one. Several requests at once read once. */
  async function refresh(): Promise<void> {
    const { mtimeMs } = await stat(join(folder, "index.html"));
    if (mtimeMs === builtMs) return;
    reading ??= readFiles(folder)
      .then((found) => {
        const before = [...files].filter(([path]) => path.startsWith(assets) && builtMs !== undefined);
        files = new Map([...before.slice(-found.size), ...found]);
        builtMs = mtimeMs;
      })
      .finally(() => {
        reading = undefined;
      });
    await reading;
  }

  return {
    owns: (path) => path === page || path.startsWith(assets),
    async serve(request, response, path) {
      // Where there is no build, or one is being written: what was read before is served, if anything was.
      if (path === page || files.size === 0) await refresh().catch(() => {});
      const file = files.get(path);
      if (file !== undefined) send(request, response, file, path);
      else if (path === page) sendNotBuilt(response);
      else return false;
      return true;
    },
  };
}

function send(request: Http2ServerRequest, response: Http2ServerResponse, file: File, path: string): void {
  const encoding = chooseEncoding(request.headers["accept-encoding"], file);
  const tag = `"${file.tag}-${encoding}"`;
  const headers = {
    ...headersOfAll,
    etag: tag,
    // The names of assets hold a hash of what is in them.
    "cache-control": path.startsWith(assets) ? "public, max-age=31536000, immutable" : "no-cache",
  };
  if (request.headers["if-none-match"]?.includes(tag) === true) {
    response.writeHead(304, headers);
    response.end();
    return;
  }
  const body = file.bytes[encoding] ?? file.bytes.identity;
  response.writeHead(200, {
    ...headers,
    "content-type": file.type,
    "content-length": String(body.length),
    ...(encoding === "identity" ? {} : { "content-encoding": encoding }),
  });
  if (request.method === "HEAD") response.end();
  else response.end(body);
}

function sendNotBuilt(response: Http2ServerResponse): void {
  response.writeHead(503, {
    ...headersOfAll,
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "content-length": String(Buffer.byteLength(notBuilt)),
  });
  response.end(notBuilt);
}

function chooseEncoding(accepted: string | string[] | undefined, { bytes }: File): Encoding {
  const named = String(accepted ?? "")
    .split(",")
    .map((part) => part.trim().toLowerCase());
  const takes = (encoding: Encoding) =>
    bytes[encoding] !== undefined &&
    named.some((part) => part === encoding || (part.startsWith(`${encoding};`) && !/q=0(\.0*)?$/.test(part)));
  return takes("br") ? "br" : takes("gzip") ? "gzip" : "identity";
}

async function readFiles(folder: string): Promise<Map<string, File>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  const files = new Map<string, File>();
  for (const name of names) {
    const type = types[extname(name)];
    if (type === undefined) continue;
    const identity = await readFile(name);
    const compressed = async (suffix: string) =>
      names.includes(name + suffix) ? await readFile(name + suffix) : undefined;
    const [gzip, br] = [await compressed(suffixes.gzip), await compressed(suffixes.br)];
    const path = `/${relative(folder, name).split(sep).join("/")}`;
    files.set(path === "/index.html" ? page : path, {
      type,
      tag: createHash("sha256").update(identity).digest("base64url").slice(0, 16),
      bytes: { identity, ...(gzip && { gzip }), ...(br && { br }) },
    });
  }
  return files;
}
