/** TLS on the one port: both HTTP versions by ALPN, every protocol, and new certificates without a restart. */
import { writeFileSync } from "node:fs";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { connect as connectHttp2 } from "node:http2";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { afterAll, describe, expect, test } from "vitest";
import { EventStreamService } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { openPort } from "../../server/http/port.ts";
import { run } from "../cli/command-line.ts";
import { useServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { newPair } from "./certificate.ts";

const folder = await mkdtemp(join(tmpdir(), "tributary-tls-"));
afterAll(() => rm(folder, { recursive: true }));
const files = (name: string) => ({
  certFile: join(folder, `${name}.crt`),
  keyFile: join(folder, `${name}.key`),
});

/** As certificates are replaced in practice: another file takes the name. */
async function put(file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, text);
  await rename(`${file}.new`, file);
}

/** What a connection agrees on, and whose certificate it is shown. */
function handshake(url: string, ALPNProtocols?: string[]): Promise<{ alpn: string | false; cert: string }> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const socket = connect({
      host: hostname,
      port: Number(port),
      rejectUnauthorized: false,
      ...(ALPNProtocols && { ALPNProtocols }),
    });
    socket.on("error", reject);
    socket.on("secureConnect", () => {
      const cert = socket.getPeerX509Certificate()?.toString().trim() ?? "";
      resolve({ alpn: socket.alpnProtocol ?? false, cert });
      socket.destroy();
    });
  });
}

describe("a server with a certificate", async () => {
  const { cert, key } = await newPair();
  const { certFile, keyFile } = files("server");
  writeFileSync(certFile, cert);
  writeFileSync(keyFile, key);
  const server = useServer({ TLS_CERT: certFile, TLS_KEY: keyFile }, cert);

  const withKey: Interceptor = (next) => (call) => {
    call.header.set("authorization", `Bearer ${server.acme.key}`);
    return next(call);
  };
  const options = () => ({ baseUrl: server.url, nodeOptions: { ca: cert }, interceptors: [withKey] });
  const transports: [name: string, make: () => Transport][] = [
    ["gRPC", () => createGrpcTransport(options())],
    ["gRPC-Web on HTTP/2", () => createGrpcWebTransport({ ...options(), httpVersion: "2" })],
    ["gRPC-Web on HTTP/1.1", () => createGrpcWebTransport({ ...options(), httpVersion: "1.1" })],
    ["Connect on HTTP/2", () => createConnectTransport({ ...options(), httpVersion: "2" })],
    ["Connect on HTTP/1.1", () => createConnectTransport({ ...options(), httpVersion: "1.1" })],
  ];

  /** A workflow with a child, both ended. */
  async function anEndedTree(): Promise<string> {
    const { workflow } = await server.acme.workflows.createWorkflow({ name: "over TLS" });
    const workflowId = workflow?.workflowId ?? "";
    await server.acme.workflows.closeWorkflow({ workflowId, status: 2 });
    return workflowId;
  }

  test.each(transports)("serves %s", async (_, make) => {
    const workflowId = await anEndedTree();
    const seen: (string | undefined)[] = [];
    for await (const { message } of createClient(EventStreamService, make()).streamWorkflowConsolidated({
      workflowId,
    })) {
      seen.push(message?.message.case);
    }
    expect(seen).toEqual(["opened", "events", "ended"]);
  });

  test("serves event streams", async () => {
    const workflowId = await anEndedTree();
    const text = await new Promise<string>((resolve, reject) => {
      request(
        `${server.url}/api/tenants/acme/stream/workflows/${workflowId}`,
        { ca: cert, headers: { authorization: `Bearer ${server.acme.key}` } },
        async (response) => {
          let body = "";
          for await (const chunk of response) body += String(chunk);
          resolve(`${response.statusCode} ${body}`);
        },
      )
        .on("error", reject)
        .end();
    });
    expect(text).toMatch(/^200 .*event: end/s);
  });

  test("says https in its address, lets the client choose the HTTP version, and gives HTTP/1.1 to who does not choose", async () => {
    expect(server.url).toMatch(/^https:/);
    expect((await handshake(server.url, ["h2", "http/1.1"])).alpn).toBe("h2");
    expect((await handshake(server.url, ["http/1.1"])).alpn).toBe("http/1.1");
    expect((await handshake(server.url)).alpn).toBe(false);
    await expect(handshake(server.url, ["spdy/3"])).rejects.toThrow(/no application protocol/i);
  });

  test("tells who speaks without TLS what to do", async () => {
    const response = await fetch(`${server.url.replace("https", "http")}/healthz`);
    expect([response.status, await response.text()]).toEqual([400, "this port speaks TLS: use https://\n"]);
  });

  test("the command line uses it", async () => {
    const env = { TRIBUTARY_URL: server.url, TRIBUTARY_API_KEY: server.acme.key };
    const trusted = await run(["workflow", "create", "over TLS"], {
      env: { ...env, NODE_EXTRA_CA_CERTS: certFile },
    });
    expect(trusted).toMatchObject({ code: 0 });
    const distrusted = await run(["workflow", "create", "over TLS"], { env });
    expect(distrusted.code).not.toBe(0);
    expect(distrusted.stderr).toMatch(/certificate.*NODE_EXTRA_CA_CERTS/is);
  });
});

describe("a certificate that is replaced", () => {
  const open = async (name: string) => {
    const { certFile, keyFile } = files(name);
    const before = await newPair();
    await put(certFile, before.cert);
    await put(keyFile, before.key);
    const said: string[] = [];
    const port = await openPort(
      {
        host: "127.0.0.1",
        port: 0,
        tls: {
          certFile,
          keyFile,
          checkIntervalMs: 20,
          onReload: () => said.push("reloaded"),
          onFailure: (message) => said.push(message),
        },
      },
      (call, response) => {
        response.writeHead(200);
        call.on("data", (chunk) => response.write(chunk));
        call.on("end", () => response.end());
      },
    );
    return { certFile, keyFile, before, said, port, url: `https://127.0.0.1:${port.address.port}` };
  };

  test("is used for new connections, and open calls go on", async () => {
    const { certFile, keyFile, before, said, port, url } = await open("replaced");
    const session = connectHttp2(url, { rejectUnauthorized: false });
    const call = session.request({ ":method": "POST" }, { endStream: false });
    call.setEncoding("utf8");
    let heard = "";
    call.on("data", (text: string) => {
      heard += text;
    });
    call.write("before ");
    await until(() => expect(heard).toBe("before "));
    expect((await handshake(url)).cert).toBe(before.cert.trim());

    const after = await newPair();
    await put(keyFile, after.key);
    await put(certFile, after.cert);
    await until(async () => expect((await handshake(url)).cert).toBe(after.cert.trim()));
    expect(said).toContain("reloaded");
    call.end("after");
    await until(() => expect(heard).toBe("before after"));
    session.destroy();
    await port.close(0);
  });

  test("is not used while its key does not fit", async () => {
    const { certFile, keyFile, before, said, port, url } = await open("mismatch");
    const after = await newPair();
    await put(certFile, after.cert);
    await until(() => expect(said).toEqual([expect.stringContaining("the one before stays")]));
    expect((await handshake(url)).cert).toBe(before.cert.trim());
    await put(keyFile, after.key);
    await until(async () => expect((await handshake(url)).cert).toBe(after.cert.trim()));
    await port.close(0);
  });
});

test.each([
  ["a file that is not there", "absent", undefined, /^TLS_CERT: .*cannot be read \(ENOENT\)/],
  ["a file that is no certificate", "nonsense", "nonsense", /^TLS_CERT, TLS_KEY: .*both PEM/],
])("%s is refused with the setting's name", async (_, name, text, message) => {
  const { certFile, keyFile } = files(name);
  if (text !== undefined) for (const file of [certFile, keyFile]) await writeFile(file, text);
  const tls = { certFile, keyFile, checkIntervalMs: 1000, onReload: () => {}, onFailure: () => {} };
  await expect(openPort({ host: "127.0.0.1", port: 0, tls }, () => {})).rejects.toThrow(message);
});
