/** Clients that send more than is taken: heads, paths, bodies, what unpacks to much, connections. */
import { once } from "node:events";
import { connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { newWorkflow } from "../api/trees.ts";
import { until } from "../support/until.ts";
import { connectionsTo, type RawHttp1, transports, useAttacked } from "./attack-scene.ts";
import {
  errorCode,
  flag,
  frame,
  frameType,
  headerBlock,
  preface,
  RawHttp2,
  requestFields,
} from "./raw-http2.ts";

const MiB = 1024 * 1024;
const createPath = "/tributary.v1.WorkflowService/CreateWorkflow";
const publishPath = "/tributary.v1.TaskStreamService/PublishTaskEvents";

/** Frames of HTTP/2 for a head that is too long for one. */
function longHead(stream: number, fields: readonly (readonly [string, string])[]): Buffer[] {
  const block = headerBlock(fields);
  const parts: Buffer[] = [];
  for (let at = 0; at < block.length; at += 16_000) {
    const flags = (at === 0 ? flag.endStream : 0) | (at + 16_000 >= block.length ? flag.endHeaders : 0);
    const type = at === 0 ? frameType.headers : frameType.continuation;
    parts.push(frame(type, flags, stream, block.subarray(at, at + 16_000)));
  }
  return parts;
}

/** A frame of gRPC or Connect. */
function message(bytes: Buffer, flags = 0, length = bytes.length): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags, 0);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, bytes]);
}

describe.each(transports)("%s", async (_, tls) => {
  const scene = await useAttacked(tls);
  const { server, raw1, raw2, whileServed } = scene;

  const answered = async (client: RawHttp1, text: string, said: RegExp) => {
    client.socket.write(text);
    await until(() => expect(client.answer).toMatch(said));
    client.socket.destroy();
  };

  test("a head of more than 16 KiB is refused: 431 on HTTP/1.1, the stream or the connection on HTTP/2", async () => {
    await whileServed(async () => {
      const head = `GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ${"y".repeat(17_000)}\r\n\r\n`;
      await answered(await raw1(), head, /^HTTP\/1\.1 431 .*16 KiB/s);
      for (const bytes of [17_000, 60_000, 200_000]) {
        const head = longHead(1, requestFields("/healthz", [["x", "y".repeat(bytes)]], "GET"));
        // Who has agreed to the limit, and who never does.
        const client = await raw2();
        client.send(frame(frameType.settings, flag.ack, 0), ...head);
        await until(() => expect(client.resetOf(1) ?? client.goaway, `${bytes}`).toBeGreaterThan(0));
        const other = await raw2();
        other.send(...head);
        await until(() =>
          expect(
            (other.resetOf(1) ?? other.goaway ?? 0) > 0 ||
              other.frames.some(({ payload }) => payload.includes("at most 16384")),
            `${bytes}`,
          ).toBe(true),
        );
        other.socket.destroy();
        expect(client.frames.some(({ type, stream }) => type === frameType.headers && stream === 1)).toBe(
          false,
        );
        client.socket.destroy();
      }
    });
  });

  test("more than a hundred fields are refused, and none is left out in silence", async () => {
    await whileServed(async () => {
      const fields = Array.from({ length: 200 }, (_, n): [string, string] => [`x${n}`, "y"]);
      const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join("");
      await answered(
        await raw1(),
        `GET /healthz HTTP/1.1\r\nhost: localhost\r\n${lines}\r\n`,
        /^HTTP\/1\.1 431 .*201 header fields; at most 100/s,
      );
      const client = await raw2();
      client.request(1, requestFields("/healthz", fields, "GET"), { end: true });
      await until(() => expect(client.resetOf(1)).toBe(errorCode.calm));
      // The connection, and what else it brings, lives.
      client.request(3, requestFields("/healthz", [], "GET"), { end: true });
      await until(() => expect(client.frames.some(({ payload }) => payload.includes("alive"))).toBe(true));
      client.socket.destroy();
    });
  });

  test("a path of more than 8 KiB is 414", async () => {
    const path = `/healthz?${"x".repeat(8192)}`;
    await answered(
      await raw1(),
      `GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`,
      /^HTTP\/1\.1 414 .*at most 8192/s,
    );
    const client = await raw2();
    client.request(1, requestFields(path, [], "GET"), { end: true });
    await until(() =>
      expect(client.frames.some(({ payload }) => payload.includes("at most 8192"))).toBe(true),
    );
    client.socket.destroy();
  });

  test("a body that says it is over 4 MiB is refused before it is sent, and one that does not say when it is", async () => {
    await whileServed(async () => {
      const head = (path: string, type: string, more: string) =>
        `POST ${path} HTTP/1.1\r\nhost: localhost\r\nauthorization: ${scene.authorization}\r\ncontent-type: ${type}\r\n${more}\r\n`;
      await answered(
        await raw1(),
        head(createPath, "application/json", `content-length: ${5 * MiB}\r\n`),
        /^HTTP\/1\.1 429 .*resource_exhausted/s,
      );
      await answered(
        await raw1(),
        head(publishPath, "application/connect+json", "transfer-encoding: chunked\r\n") +
          `5\r\n${message(Buffer.alloc(0), 0, 5 * MiB).toString("latin1")}\r\n`,
        /^HTTP\/1\.1 200 .*resource_exhausted/s,
      );
      const endless = await raw1();
      endless.socket.write(head(createPath, "application/json", "transfer-encoding: chunked\r\n"));
      const chunk = `10000\r\n${" ".repeat(65_536)}\r\n`;
      let sent = 0;
      while (!endless.answer.includes("resource_exhausted")) {
        if (!endless.socket.write(chunk)) await once(endless.socket, "drain");
        else await new Promise((resolve) => setImmediate(resolve));
        sent += 65_536;
        expect(sent).toBeLessThan(64 * MiB);
      }
      endless.socket.destroy();
    });
  });

  test.each([
    ["gzip", gzipSync(Buffer.alloc(50 * MiB, 32))],
    ["br", brotliCompressSync(Buffer.alloc(50 * MiB, 32), { params: { 1: 3 } })],
  ])(
    "a hundred bombs of %s at once cost bounded memory, and each is RESOURCE_EXHAUSTED",
    async (encoding, bomb) => {
      await whileServed(async () => {
        const session = connectHttp2(server.url, { rejectUnauthorized: false });
        session.on("error", () => {}); // each call would hear it
        const before = process.memoryUsage().rss;
        let most = 0;
        const watching = setInterval(() => {
          most = Math.max(most, process.memoryUsage().rss - before);
        }, 5);
        const codes = await Promise.all(
          Array.from({ length: 100 }, async (_, n) => {
            const isUnary = n % 2 === 0;
            const stream = session.request({
              ":method": "POST",
              ":path": isUnary ? createPath : publishPath,
              "content-type": isUnary ? "application/json" : "application/connect+json",
              [isUnary ? "content-encoding" : "connect-content-encoding"]: encoding,
              authorization: scene.authorization,
            });
            stream.end(isUnary ? bomb : message(bomb, 1));
            let text = "";
            for await (const chunk of stream) text += chunk;
            return /"code":"(\w+)"/.exec(text)?.[1];
          }),
        ).finally(() => clearInterval(watching));
        expect(new Set(codes)).toEqual(new Set(["resource_exhausted"]));
        // Unpacked they would be 5 GB; without turns a hundred times 4 MiB and what they are made of.
        expect(most).toBeLessThan(250 * MiB);
        session.destroy();
      });
    },
  );
});

describe("what is not what it says", async () => {
  const scene = await useAttacked(false);
  const { server } = scene;

  async function call(path: string, headers: Record<string, string>, body: Buffer) {
    const session = connectHttp2(server.url);
    try {
      const stream = session.request({
        ":method": "POST",
        ":path": path,
        authorization: scene.authorization,
        ...headers,
      });
      let trailers: IncomingHttpHeaders = {};
      stream.on("response", (given) => {
        trailers = { ...trailers, ...given };
      });
      stream.on("trailers", (given) => {
        trailers = { ...trailers, ...given };
      });
      stream.end(body);
      let text = "";
      for await (const chunk of stream) text += chunk;
      return { text, status: trailers["grpc-status"], http: trailers[":status"] };
    } finally {
      session.destroy();
    }
  }
  const json = Buffer.from('{"name":"x"}');
  const whole = gzipSync(json);
  const garbage = Buffer.from("this is neither gzip nor Brotli".repeat(10));

  test.each([
    ["garbage", "gzip", garbage],
    ["garbage", "br", garbage],
    ["cut off", "gzip", whole.subarray(0, whole.length - 9)],
    ["cut off", "br", brotliCompressSync(json).subarray(0, 8)],
    ["gzip in gzip", "gzip", gzipSync(whole)],
  ])("a message that is %s, said to be %s, is INVALID_ARGUMENT", async (_name, encoding, body) => {
    const unary = await call(
      createPath,
      { "content-type": "application/json", "content-encoding": encoding },
      body,
    );
    expect([unary.http, JSON.parse(unary.text).code]).toEqual([400, "invalid_argument"]);
    const stream = await call(
      publishPath,
      { "content-type": "application/connect+json", "connect-content-encoding": encoding },
      message(body, 1),
    );
    expect(stream.text).toContain('"code":"invalid_argument"');
    const grpc = await call(
      createPath,
      { "content-type": "application/grpc+json", te: "trailers", "grpc-encoding": encoding },
      message(body, 1),
    );
    expect(grpc.status).toBe("3");
  });

  test("an encoding that is not known is UNIMPLEMENTED; a message packed without one is refused", async () => {
    for (const encoding of ["zstd", "deflate", "gzip, br", "x".repeat(1000)]) {
      const unary = await call(
        createPath,
        { "content-type": "application/json", "content-encoding": encoding },
        whole,
      );
      expect(JSON.parse(unary.text).code, encoding).toBe("unimplemented");
    }
    const unnamed = await call(
      publishPath,
      { "content-type": "application/connect+json" },
      message(whole, 1),
    );
    expect(unnamed.text).toMatch(/"code":"(internal|invalid_argument)"/);
  });

  test("a packed message in the middle of a stream is taken like any other", async () => {
    const workflowId = await newWorkflow(server.acme);
    const batch = (text: string) =>
      Buffer.from(
        JSON.stringify({ events: [{ workflowId, taskExecutionId: "t", type: "EVENT_TYPE_TOKEN", text }] }),
      );
    const stream = await call(
      publishPath,
      { "content-type": "application/connect+json", "connect-content-encoding": "gzip" },
      Buffer.concat([
        message(batch("plain")),
        message(gzipSync(batch("packed")), 1),
        message(batch("plain")),
      ]),
    );
    expect(stream.text).not.toContain("error");
  });
});

describe("without a credential", async () => {
  const scene = await useAttacked(false);

  test("no more than 4 KiB are taken; what is short is answered", async () => {
    const reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    const ask = async (path: string, type: string, body: Buffer) => {
      const session = connectHttp2(scene.server.url);
      const stream = session.request({ ":method": "POST", ":path": path, "content-type": type });
      stream.end(body);
      let text = "";
      for await (const chunk of stream) text += chunk;
      session.destroy();
      return text;
    };
    const json = (service: string) => Buffer.from(JSON.stringify({ service }));
    const symbol = (name: string) => message(Buffer.from(JSON.stringify({ fileContainingSymbol: name })));
    const check = (service: string) => ask("/grpc.health.v1.Health/Check", "application/json", json(service));
    expect(await check("x".repeat(5000))).toContain("resource_exhausted");
    expect(await check("")).toContain("SERVING");
    const stream = "application/connect+json";
    expect(await ask(reflection, stream, symbol("x".repeat(5000)))).toContain("resource_exhausted");
    expect(await ask(reflection, stream, symbol("grpc.health.v1.Health"))).not.toContain("error");
    const half = message(Buffer.alloc(0), 0, 4 * MiB);
    expect(await ask(reflection, stream, half)).toContain("resource_exhausted");
  });
});

describe("bodies that arrive together", async () => {
  const scene = await useAttacked(false, { connectionBodiesBytes: 2 * MiB });

  test("are bounded for each connection; what is beyond is RESOURCE_EXHAUSTED, and the room is free again", async () => {
    await scene.whileServed(async () => {
      const session = connectHttp2(scene.server.url);
      const open = () =>
        session.request({
          ":method": "POST",
          ":path": createPath,
          "content-type": "application/json",
          authorization: scene.authorization,
        });
      const held = Array.from({ length: 3 }, open);
      const answers: string[] = [];
      for (const stream of held) {
        stream.setEncoding("utf8");
        stream.on("data", (text) => answers.push(text));
        stream.write(" ".repeat(MiB - 100));
      }
      await until(() => expect(answers).toEqual([expect.stringContaining("resource_exhausted")]));
      for (const stream of held) stream.close();
      const later = open();
      later.end('{"name":"later"}');
      const [answer] = await once(later, "response");
      expect(answer[":status"]).toBe(200);
      session.destroy();
    });
  });
});

describe.each(transports)("with all connections taken, %s", async (_, tls) => {
  // Those of the test itself: two tenants' clients and the administrator's.
  const scene = await useAttacked(tls, {}, { MAX_CONNECTIONS: "8" });

  test("another one is refused in words, and served when one has gone", async () => {
    await newWorkflow(scene.server.acme);
    await scene.whileServed(async () => {
      const taken: RawHttp2[] = [];
      while ((await connectionsTo(scene.port)) < 8) taken.push(await scene.raw2());
      if (tls) {
        await expect(scene.raw1()).rejects.toThrow(/alert internal error/);
      } else {
        const one = await scene.raw1();
        one.socket.write("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
        await one.ended();
        expect(one.answer).toMatch(/^HTTP\/1\.1 503 .*retry-after: 5\r\n.*too many connections/s);
        const two = await RawHttp2.dial(scene.port);
        two.send(preface);
        await two.ended();
        expect(two.goaway).toBe(errorCode.calm);
        expect(two.frames.at(-1)?.payload.toString()).toContain("too many connections");
        // One that says nothing gets no answer, and no place either.
        const silent = await scene.raw1();
        await silent.ended();
      }
      for (const client of taken.slice(1)) client.socket.destroy();
      const answer = await until(async () => {
        const client = await scene.raw1();
        client.socket.write("GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        await client.ended();
        expect(client.answer).toMatch(/^HTTP\/1\.1 200 /);
        return client.answer;
      });
      expect(answer).toContain("alive");
      taken[0]?.socket.destroy();
    });
  });
});
