/** Whose requests are served: Host and Origin, in development mode and else. No request may harm the process. */
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { describe, expect, test } from "vitest";
import { createHandler, type HandlerDeps } from "../../server/http/handler.ts";
import { createOriginCheck } from "../../server/http/origin.ts";
import { type Handler, openPort, type Port } from "../../server/http/port.ts";
import { useServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { RawHttp1 } from "./attack-scene.ts";

const server = useServer({ CORS_ORIGINS: "https://app.example.com,http://localhost:5173" });
const createPath = "/tributary.v1.WorkflowService/CreateWorkflow";
const healthPath = "/grpc.health.v1.Health/Check";

/** What a request by hand is answered: status line and all. */
async function ask(url: string, lines: readonly string[], body = "{}"): Promise<string> {
  const client = await RawHttp1.dial(Number(new URL(url).port));
  client.socket.write(
    `${lines.join("\r\n")}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  await client.ended();
  return client.answer;
}

/** The status of a request over HTTP/2 with these pseudo-headers. */
async function ask2(url: string, headers: Record<string, string>): Promise<number | string> {
  const session = connectHttp2(url);
  session.on("error", () => {}); // the stream hears it
  try {
    return await new Promise((resolve) => {
      const stream = session.request({ ":path": "/healthz", ...headers });
      stream.on("response", (answer) => resolve(Number(answer[":status"])));
      stream.on("error", (error) => resolve(error.message));
      stream.on("close", () => resolve("closed"));
      stream.end();
    });
  } finally {
    session.destroy();
  }
}

describe("a Host that is none", () => {
  const post = (version: string, ...hosts: string[]) => [
    `POST ${healthPath} HTTP/${version}`,
    ...hosts.map((host) => `host: ${host}`),
  ];

  test.each([
    ["[", ["["]],
    ["a space", ["a b"]],
    ["nothing", [""]],
    ["a port beyond all", ["localhost:99999"]],
    ["no number as a port", ["localhost:x"]],
    ["a user", ["user@localhost"]],
    ["a path", ["localhost/x"]],
    ["a fragment", ["localhost#x"]],
    ["encoded", ["local%68ost"]],
    ["two of them", ["localhost", "evil.example"]],
  ])("is 400, and the server lives: %s", async (_, hosts) => {
    expect(await ask(server.url, post("1.1", ...hosts))).toMatch(/^HTTP\/1\.1 400 .*"Host: /s);
    expect(await ask(server.url, post("1.1", "localhost"))).toMatch(/^HTTP\/1\.1 200 /);
  });

  test.each(["1.1", "1.0"])("is 400 if it is missing, on HTTP/%s too", async (version) => {
    expect(await ask(server.url, post(version))).toMatch(/^HTTP\/1\.1 400 .*Host: missing/s);
  });

  test("is 400 on HTTP/2, as is an authority with another Host beside it", async () => {
    for (const headers of [
      { ":authority": "[" },
      { ":authority": "a b" },
      { ":authority": "user@localhost" },
      { ":authority": "localhost", host: "evil.example" },
    ]) {
      expect([400, "Stream closed with error code NGHTTP2_PROTOCOL_ERROR"]).toContain(
        await ask2(server.url, { ":method": "POST", ...headers, ":path": healthPath }),
      );
    }
    expect(await ask2(server.url, { ":authority": "localhost", host: "LOCALHOST" })).toBe(200);
  });

  test("an absolute target is served, and its host is the one that counts", async () => {
    const absolute = (target: string) => [`POST ${target}${healthPath} HTTP/1.1`, "host: localhost"];
    expect(await ask(server.url, absolute("http://localhost"))).toMatch(/^HTTP\/1\.1 200 .*SERVING/s);
    expect(await ask(server.url, absolute("http://["))).toMatch(/^HTTP\/1\.1 400 /);
    expect(await ask(server.url, absolute("http://user@localhost"))).toMatch(/^HTTP\/1\.1 400 /);
  });
});

describe("in development mode", () => {
  /** Only the way to the routes: what is asked here is who gets there. */
  async function withPort(use: (url: string) => Promise<void>): Promise<void> {
    const handler = createHandler({
      observer: undefined,
      console: { owns: () => false, serve: async () => false },
      consoleSession: undefined,
      originCheck: createOriginCheck({ developmentMode: true, origins: ["https://app.example.com"] }),
      readiness: { notReady: async () => undefined, degraded: () => undefined },
      sse: { logBug: () => {} } as unknown as HandlerDeps["sse"], // no stream is asked for
      metrics: { contentType: "text/plain", text: async () => "" },
      findMistake: () => undefined,
      kindOf: () => undefined,
      rpc: (fallback: Handler) => fallback,
    });
    const port: Port = await openPort({ host: "127.0.0.1", port: 0, tls: undefined }, handler);
    try {
      await use(`http://127.0.0.1:${port.address.port}`);
    } finally {
      await port.close(0);
    }
  }
  const get = (host: string, target = "/healthz") => [`GET ${target} HTTP/1.1`, `host: ${host}`];

  test.each([
    "localhost",
    "LocalHost",
    "localhost:8080",
    "127.0.0.1",
    "127.0.0.1:1",
    "127.0.0.2",
    "[::1]",
    "[::1]:8080",
    // A browser makes 127.0.0.1 of these before it sends them.
    "127.1",
    "2130706433",
    "0x7f.1",
  ])("this machine's own name is served: %s", async (host) => {
    await withPort(async (url) => {
      expect(await ask(url, get(host))).toMatch(/^HTTP\/1\.1 200 /);
      expect(await ask2(url, { ":authority": host })).toBe(200);
    });
  });

  test.each([
    "evil.example",
    "evil.example:8080",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil-localhost",
    "localhost.",
    "sub.localhost",
    "0.0.0.0",
    "[::]",
    "[::ffff:127.0.0.1]",
    "192.168.0.1",
    "2130706434.example",
    "128.0.0.1",
    "3232235521",
    "xn--lcalhost-54a",
  ])("a name that a page can bring to this machine's address is 403: %s", async (host) => {
    await withPort(async (url) => {
      expect(await ask(url, get(host))).toMatch(/^HTTP\/1\.1 403 .*permission_denied/s);
      expect(await ask2(url, { ":authority": host })).toBe(403);
    });
  });

  test("the host of an absolute target counts, not that of the field", async () => {
    await withPort(async (url) => {
      expect(await ask(url, get("localhost", "http://evil.example/healthz"))).toMatch(/^HTTP\/1\.1 403 /);
      expect(await ask(url, get("evil.example", "http://localhost/healthz"))).toMatch(/^HTTP\/1\.1 200 /);
      expect(await ask2(url, { ":authority": "localhost", host: "evil.example" })).toBe(400);
    });
  });

  test.each([
    ["http://localhost", 200],
    ["http://localhost:5173", 200],
    ["https://127.0.0.1:8443", 200],
    ["http://[::1]:3000", 200],
    ["https://app.example.com", 200],
    ["null", 403],
    ["file://", 403],
    ["chrome-extension://localhost", 403],
    ["http://localhost.evil.example", 403],
    ["http://evil-localhost", 403],
    ["http://127.0.0.1.evil.example", 403],
    ["https://evil.example", 403],
    ["https://app.example.com.evil.example", 403],
    ["https://app.example.com:8443", 403],
    ["http://app.example.com", 403],
    ["", 403],
  ])("a page of %j is answered %i", async (origin, status) => {
    await withPort(async (url) => {
      expect(await ask(url, [...get("localhost"), `origin: ${origin}`])).toMatch(
        new RegExp(`^HTTP/1\\.1 ${status} `),
      );
    });
  });
});

describe("else, pages of CORS_ORIGINS alone may read answers", () => {
  const preflight = (origin: string) => [
    `OPTIONS ${createPath} HTTP/1.1`,
    "host: localhost",
    `origin: ${origin}`,
    "access-control-request-method: POST",
    "access-control-request-headers: authorization,content-type",
  ];
  const simple = (origin: string) => [`POST ${healthPath} HTTP/1.1`, "host: localhost", `origin: ${origin}`];
  const plain = (origin: string) => ["GET /healthz HTTP/1.1", "host: localhost", `origin: ${origin}`];
  /** With a cookie, as a browser sends it with credentials. */
  const credentials = (origin: string) => [...simple(origin), "cookie: a=b"];
  const kinds = { preflight, simple, plain, credentials };

  test.each(["https://app.example.com", "http://localhost:5173"])("%s may", async (origin) => {
    for (const [kind, lines] of Object.entries(kinds)) {
      const answer = (await ask(server.url, lines(origin))).toLowerCase();
      expect(answer, kind).toContain(`access-control-allow-origin: ${origin}\r\n`);
      expect(answer, kind).toContain("vary: origin");
      // The service knows no cookies, so that a page never acts by them.
      expect(answer, kind).not.toContain("access-control-allow-credentials");
    }
  });

  test.each([
    "null",
    "*",
    "https://app.example.com:8443",
    "https://app.example.com/",
    "https://APP.example.com",
    "http://app.example.com",
    "https://app.example.com.evil.example",
    "https://evil-app.example.com",
    "https://evil.example/https://app.example.com",
    "https://app.example.com https://evil.example",
    "https://appXexample.com",
    "https://sub.app.example.com",
    "http://localhost",
    "http://localhost:5174",
    "http://127.0.0.1:5173",
    "file://",
  ])("%s may not", async (origin) => {
    for (const [kind, lines] of Object.entries(kinds)) {
      const answer = (await ask(server.url, lines(origin))).toLowerCase();
      expect(answer, kind).not.toContain("access-control-allow-origin");
      expect(answer, kind).not.toContain("access-control-allow-methods");
      if (kind === "preflight") expect(answer).toMatch(/^http\/1\.1 405 /);
    }
  });
});

describe("with CORS_ORIGINS=*", () => {
  const open = useServer({ CORS_ORIGINS: "*" });

  test("any page may read, without credentials of the browser's own", async () => {
    for (const origin of ["https://evil.example", "null"]) {
      const answer = await ask(open.url, ["GET /healthz HTTP/1.1", "host: localhost", `origin: ${origin}`]);
      expect(answer).toMatch(/^HTTP\/1\.1 200 .*access-control-allow-origin: /is);
      expect(answer).not.toMatch(/access-control-allow-credentials/i);
    }
  });
});

test("a method that is no call, a target that is no path, an upgrade: each is answered, and the server lives", async () => {
  for (const lines of [
    ["CONNECT evil.example:443 HTTP/1.1", "host: localhost"],
    ["OPTIONS * HTTP/1.1", "host: localhost"],
    ["TRACE / HTTP/1.1", "host: localhost"],
    ["GET /healthz HTTP/1.1", "host: localhost", "upgrade: h2c", "http2-settings: AAMAAABk"],
    [`POST ${healthPath} HTTP/1.1`, "host: localhost", "expect: 200-maybe"],
  ]) {
    const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
    let isClosed = false;
    socket.on("error", () => {}); // closed without an answer, which is one too
    socket.on("close", () => {
      isClosed = true;
    });
    socket.resume();
    socket.write(`${lines.join("\r\n")}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
    await until(() => expect(isClosed, lines[0]).toBe(true));
    expect(await ask(server.url, ["GET /healthz HTTP/1.1", "host: localhost"])).toMatch(/^HTTP\/1\.1 200 /);
  }
});
