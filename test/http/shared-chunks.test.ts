/**
 * What a stream of Server-Sent Events looks like on the wire of HTTP/1.x. The chunks are framed by this project and not by Node, so
 * they are read here by a reader of its own that takes nothing but what RFC 9112 says.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { expect, test } from "vitest";
import { lastChunk, takeOverChunks, toChunk } from "../../server/http/shared-chunks.ts";
import { newWorkflow, publish, repeat, token } from "../api/trees.ts";
import { useServer } from "../support/server.ts";
import { until } from "../support/until.ts";

const server = useServer();

class Wire {
  readonly socket: Socket;
  bytes: Buffer = Buffer.alloc(0);
  ended = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.on("data", (more: Buffer) => {
      this.bytes = Buffer.concat([this.bytes, more]);
    });
    socket.on("end", () => {
      this.ended = true;
    });
  }

  /** Takes what is up to this text, once it has come. */
  async take(end: string): Promise<string> {
    await until(() => expect(this.bytes.includes(end), end).toBe(true));
    return this.cut(this.bytes.indexOf(end) + end.length).toString();
  }

  cut(length: number): Buffer {
    const taken = this.bytes.subarray(0, length);
    this.bytes = this.bytes.subarray(length);
    return taken;
  }

  /** A chunk, or undefined: it was the last. */
  async chunk(): Promise<Buffer | undefined> {
    const size = Number.parseInt(await this.take("\r\n"), 16);
    await until(() => expect(this.bytes.length).toBeGreaterThanOrEqual(size + 2));
    const data = this.cut(size);
    expect(this.cut(2).toString()).toBe("\r\n");
    return size === 0 ? undefined : data;
  }
}

async function dial(): Promise<Wire> {
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  await once(socket, "connect");
  return new Wire(socket);
}

const ask = (wire: Wire, workflowId: string, { verb = "GET", version = "1.1" } = {}) =>
  wire.socket.write(
    `${verb} /api/tenants/acme/stream/workflows/${workflowId} HTTP/${version}\r\nhost: localhost\r\nauthorization: Bearer ${server.acme.key}\r\n\r\n`,
  );

/** "é" and a rocket are more bytes than characters. */
const payload = "é 🚀";

async function openWorkflow(): Promise<string> {
  const id = await newWorkflow(server.acme);
  await publish(
    server.acme,
    repeat(3, () => token(id, payload)),
  );
  return id;
}

const close = (workflowId: string) => server.acme.workflows.closeWorkflow({ workflowId, status: 2 });

test("each message is one chunk with its length in bytes, of what was stored and of what happens", async () => {
  const id = await openWorkflow();
  const wire = await dial();
  ask(wire, id);
  expect(await wire.take("\r\n\r\n")).toMatch(/^HTTP\/1\.1 200 .*\r\ntransfer-encoding: chunked\r\n/is);
  expect(String(await wire.chunk())).toMatch(/^event: open\n.*\n\n$/s);
  expect(String(await wire.chunk())).toMatch(/^event: workflow_created\n.*é 🚀.*\n\n$/s);
  for (const text of ["one", "two"]) {
    await publish(server.acme, [token(id, `${payload} ${text}`)]);
    const record = String(await wire.chunk());
    expect(record).toMatch(/^event: token\nid: \d+\ndata: .*é 🚀 .*\n\n$/);
    expect(record).toContain(text);
  }
  await close(id);
  wire.socket.destroy();
});

test("a stream that has ended ends its body, and the connection takes the next request", async () => {
  const id = await openWorkflow();
  const wire = await dial();
  for (let round = 0; round < 2; round++) {
    ask(wire, id);
    expect(await wire.take("\r\n\r\n")).toMatch(/^HTTP\/1\.1 200 .*connection: keep-alive\r\n/is);
    if (round === 0) await close(id);
    let body = "";
    for (let data = await wire.chunk(); data !== undefined; data = await wire.chunk()) body += data;
    expect(body).toMatch(/event: end\n.*\n\n$/s);
    expect([wire.bytes.length, wire.ended]).toEqual([0, false]);
  }
  wire.socket.destroy();
});

test("requests on one connection are answered one after the other, though all were sent at once", async () => {
  const [first, second] = [await openWorkflow(), await openWorkflow()];
  const wire = await dial();
  ask(wire, first);
  ask(wire, second);
  await close(second);
  await wire.take("\r\n\r\n");
  await publish(server.acme, [token(first, "late")]);
  await close(first);
  for (const id of [first, second]) {
    if (id === second) await wire.take("\r\n\r\n");
    let body = "";
    for (let data = await wire.chunk(); data !== undefined; data = await wire.chunk()) body += data;
    expect(new Set(body.match(/(?<="workflowExecutionId":")[^"]*/g))).toEqual(new Set([id]));
    expect(body).toMatch(/event: end\n.*\n\n$/s);
  }
  wire.socket.destroy();
});

test("HTTP/1.0 knows no chunks: the body ends with the connection", async () => {
  const id = await openWorkflow();
  await close(id);
  const wire = await dial();
  ask(wire, id, { version: "1.0" });
  const head = await wire.take("\r\n\r\n");
  expect(head).toMatch(/^HTTP\/1\.1 200 .*connection: close\r\n/is);
  expect(head).not.toMatch(/transfer-encoding/i);
  await until(() => expect(wire.ended).toBe(true));
  expect(String(wire.bytes)).toMatch(/^event: open\n.*event: end\n.*\n\n$/s);
  wire.socket.destroy();
});

test("HEAD gets the head alone, and the connection takes the next request", async () => {
  const id = await openWorkflow();
  const wire = await dial();
  ask(wire, id, { verb: "HEAD" });
  ask(wire, id);
  expect(await wire.take("\r\n\r\n")).toMatch(/^HTTP\/1\.1 200 /);
  expect(await wire.take("\r\n\r\n")).toMatch(/^HTTP\/1\.1 200 /);
  expect(String(await wire.chunk())).toMatch(/^event: open\n/);
  wire.socket.destroy();
});

test("a chunk is a length in hexadecimal digits, the bytes, and a line end", () => {
  expect(String(toChunk(Buffer.from("é".repeat(8))))).toBe(`10\r\n${"é".repeat(8)}\r\n`);
  expect(String(lastChunk)).toBe("0\r\n\r\n");
});

test("only a response that has chunks gives them away, once", () => {
  const chunked = { chunkedEncoding: true };
  expect([takeOverChunks(chunked), chunked.chunkedEncoding]).toEqual([true, false]);
  expect([takeOverChunks(chunked), takeOverChunks({ chunkedEncoding: false }), takeOverChunks({})]).toEqual([
    false,
    false,
    false,
  ]);
});
