/** What browsers are told with every plain answer, and what nobody is told. */
import { connect } from "node:tls";
import { v7 as uuidv7 } from "uuid";
import { describe, expect, test } from "vitest";
import { newWorkflow } from "../api/trees.ts";
import { until } from "../support/until.ts";
import { transports, useAttacked } from "./attack-scene.ts";

/** Everything that is answered without a client that knows the protocol. */
const plain: readonly (readonly [what: string, lines: readonly string[]])[] = [
  ["liveness", ["GET /healthz HTTP/1.1"]],
  ["readiness", ["GET /readyz HTTP/1.1"]],
  ["metrics", ["GET /metrics HTTP/1.1"]],
  ["an unknown path", ["GET /nowhere HTTP/1.1"]],
  ["a wrong method", ["DELETE /healthz HTTP/1.1"]],
  ["a wrong content type", ["POST /tributary.v1.WorkflowService/GetWorkflow HTTP/1.1"]],
  ["an event stream that is refused", [`GET /api/tenants/acme/stream/workflows/${uuidv7()} HTTP/1.1`]],
];

describe.each(transports)("%s", async (_, tls) => {
  const scene = await useAttacked(tls);

  async function headersOf(lines: readonly string[], host = "service.example"): Promise<Map<string, string>> {
    const client = await scene.raw1();
    client.socket.write([...lines, `host: ${host}`, "connection: close", "", ""].join("\r\n"));
    await until(() => expect(client.answer).toContain("\r\n\r\n"));
    client.socket.destroy();
    const [head = ""] = client.answer.split("\r\n\r\n");
    return new Map(
      head
        .split("\r\n")
        .slice(1)
        .map((line) => [
          line.slice(0, line.indexOf(":")).toLowerCase(),
          line.slice(line.indexOf(":") + 1).trim(),
        ]),
    );
  }

  test.each(plain)("%s has them all, and no name of the software", async (_what, lines) => {
    const headers = await headersOf(lines);
    expect(Object.fromEntries(headers)).toMatchObject({
      "x-content-type-options": "nosniff",
      "content-security-policy": expect.stringMatching(/default-src 'none'.*frame-ancestors 'none'/),
      "referrer-policy": "no-referrer",
      "cross-origin-resource-policy": "same-origin",
      "x-frame-options": "DENY",
      "cache-control": "no-store",
    });
    expect(headers.has("server")).toBe(false);
    expect(headers.has("x-powered-by")).toBe(false);
  });

  test("an event stream has them too, and so has a stream that is over", async () => {
    const workflowId = await newWorkflow(scene.server.acme);
    const path = `/api/tenants/acme/stream/workflows/${workflowId}`;
    const headers = await headersOf([`GET ${path} HTTP/1.1`, `authorization: ${scene.authorization}`]);
    expect(headers.get("content-type")).toMatch(/^text\/event-stream/);
    expect(headers.get("content-security-policy")).toContain("default-src 'none'");
    await scene.server.acme.workflows.closeWorkflow({ workflowId, status: 2 });
    const over = await headersOf([
      `GET ${path} HTTP/1.1`,
      `authorization: ${scene.authorization}`,
      "last-event-id: 9",
    ]);
    expect(over.get("x-content-type-options")).toBe("nosniff");
  });

  test("an answer of an RPC is not sniffed", async () => {
    const headers = await headersOf([
      "POST /grpc.health.v1.Health/Check HTTP/1.1",
      "content-type: application/json",
      "content-length: 0",
    ]);
    expect(headers.get("x-content-type-options")).toBe("nosniff");
  });

  test(`strict-transport-security is ${tls ? "sent, but not to this machine's own names" : "never sent"}`, async () => {
    const of = async (host: string) =>
      (await headersOf(["GET /healthz HTTP/1.1"], host)).get("strict-transport-security");
    expect(await of("service.example")).toBe(tls ? "max-age=31536000" : undefined);
    expect(await of("localhost:8443")).toBeUndefined();
    expect(await of("127.0.0.1")).toBeUndefined();
  });
});

describe("TLS", async () => {
  const scene = await useAttacked(true);

  /** What is agreed on; or the error, by name. */
  const handshake = (options: object) =>
    new Promise<string>((resolve) => {
      const socket = connect({ host: "127.0.0.1", port: scene.port, rejectUnauthorized: false, ...options });
      socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      socket.on("secureConnect", () => {
        resolve(`${socket.getProtocol()} ${socket.getCipher().name}`);
        socket.destroy();
      });
    });
  const weak = { ciphers: "DEFAULT@SECLEVEL=0" };

  test.each(["TLSv1", "TLSv1.1"] as const)("%s is refused by the server", async (version) => {
    const said = await handshake({ ...weak, minVersion: version, maxVersion: version });
    expect(said).toBe("ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION");
  });

  test.each([
    ["TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"],
    ["TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305"],
    ["TLSv1.3", "TLS_AES_128_GCM_SHA256"],
    ["TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256"],
  ] as const)("%s with %s is taken as the client chooses", async (version, ciphers) => {
    expect(await handshake({ minVersion: version, maxVersion: version, ciphers })).toBe(
      `${version} ${ciphers}`,
    );
  });

  test.each([
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-ECDSA-AES128-CCM8",
    "AES128-GCM-SHA256",
    "DHE-RSA-AES128-GCM-SHA256",
    "PSK-AES128-GCM-SHA256",
  ])("a cipher without forward secrecy or authenticated encryption is refused: %s", async (ciphers) => {
    expect(await handshake({ maxVersion: "TLSv1.2", ciphers: `${ciphers}:@SECLEVEL=0` })).toMatch(
      /HANDSHAKE_FAILURE|NO_CIPHERS/,
    );
  });

  test("a handshake within a connection is refused", async () => {
    const socket = connect({
      host: "127.0.0.1",
      port: scene.port,
      rejectUnauthorized: false,
      maxVersion: "TLSv1.2",
    });
    socket.on("error", () => {}); // what the callback says too
    await new Promise((resolve) => socket.once("secureConnect", resolve));
    const refused = await new Promise<boolean>((resolve) => {
      if (!socket.renegotiate({}, (error) => resolve(error !== null))) resolve(true);
      socket.once("close", () => resolve(true));
    });
    expect(refused).toBe(true);
    socket.destroy();
  });
});
