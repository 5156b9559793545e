/** Clients that begin and do not go on, or do not take what they asked for. */
import { once } from "node:events";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { v7 as uuidv7 } from "uuid";
import { describe, expect, test } from "vitest";
import { WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { TaskStreamService } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { newWorkflow, publish, readAll, token } from "../api/trees.ts";
import { until } from "../support/until.ts";
import { connectionsTo, transports, useAttacked } from "./attack-scene.ts";
import { errorCode, flag, frame, frameType, headerBlock, requestFields } from "./raw-http2.ts";

const short = {
  firstBytesMs: 400,
  firstCallMs: 400,
  idleHttp1Ms: 600,
  idleHttp2Ms: 600,
  noticeMs: 100,
  bodyMs: 500,
  openBodyMs: 200,
  restMs: 300,
  answerMs: 500,
  streamAnswerMs: 500,
};

const json = "content-type: application/json\r\n";
/** The head of a frame for a message that never comes. */
const halfMessage = "\0\0\0\x7f\x7f";
const createPath = "/tributary.v1.WorkflowService/CreateWorkflow";
const streamPath = "/tributary.v1.EventStreamService/StreamWorkflow";

describe.each(transports)("%s", async (_, tls) => {
  const scene = await useAttacked(tls, short);
  const { server, raw1, raw2, whileServed } = scene;
  const post = (path: string, headers: string) =>
    `POST ${path} HTTP/1.1\r\nhost: localhost\r\nauthorization: ${scene.authorization}\r\n${headers}\r\n`;
  const healthz = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";

  /** A well-behaved HTTP/2 client. */
  async function session(options: { initialWindowSize?: number } = {}): Promise<ClientHttp2Session> {
    const made = connectHttp2(server.url, { rejectUnauthorized: false, settings: options });
    made.on("error", () => {}); // the server ends it
    await once(made, "connect");
    return made;
  }

  test("a head of HTTP/1.1 that comes byte by byte is cut off with 408", async () => {
    await whileServed(async () => {
      const client = await raw1();
      client.socket.write("GET /healthz HTTP/1.1\r\nhost: localhost\r\n");
      await client.drip("x: y\r\n", 20);
      expect(client.answer).toMatch(/^HTTP\/1\.1 408 .*did not arrive in time/s);
    });
  });

  test("HTTP/2 that begins and then says nothing is closed, and so is half a head that goes no further", async () => {
    await whileServed(async () => {
      const silent = await raw2();
      const half = await raw2();
      const block = headerBlock(requestFields("/healthz", [], "GET"));
      half.send(frame(frameType.headers, flag.endStream, 1, block));
      await Promise.all([silent.ended(), half.ended()]);
      expect([silent.goaway, half.goaway]).toEqual([errorCode.none, errorCode.none]);
    });
  });

  test.each([
    ["Connect, a unary call", createPath, json, /^HTTP\/1\.1 504 .*"deadline_exceeded".*did not arrive/s],
    [
      "Connect, a stream",
      streamPath,
      "content-type: application/connect+json\r\n",
      /^HTTP\/1\.1 200 .*"deadline_exceeded".*did not arrive/s,
    ],
    [
      "gRPC-Web",
      createPath,
      "content-type: application/grpc-web+proto\r\n",
      /^HTTP\/1\.1 200 .*grpc-status: 4\r\n/is,
    ],
  ])(
    "a message that comes byte by byte on HTTP/1.1 is DEADLINE_EXCEEDED: %s",
    async (_name, path, type, said) => {
      await whileServed(async () => {
        const client = await raw1();
        client.socket.write(post(path, `${type}content-length: 100000\r\n`) + halfMessage);
        await client.drip(" ", 20);
        expect(client.answer).toMatch(said);
      });
    },
  );

  test.each([
    ["a unary call", createPath],
    ["a server stream", streamPath],
  ])("so is one of gRPC on HTTP/2: %s; the connection serves others meanwhile", async (_name, path) => {
    await whileServed(async () => {
      const client = await session();
      const slow = client.request(
        {
          ":method": "POST",
          ":path": path,
          "content-type": "application/grpc",
          te: "trailers",
          authorization: scene.authorization,
        },
        { endStream: false },
      );
      slow.on("error", () => {}); // reset when the rest does not come either
      slow.write(halfMessage);
      const timer = setInterval(() => slow.writable && slow.write(" "), 20);
      let trailers: Record<string, unknown> = {};
      slow.on("response", (headers) => {
        trailers = { ...trailers, ...headers };
      });
      slow.on("trailers", (headers) => {
        trailers = { ...trailers, ...headers };
      });
      slow.resume();
      const other = client.request({ ":path": "/healthz" });
      const [answer] = await once(other, "response");
      expect(answer[":status"]).toBe(200);
      await new Promise((resolve) => slow.once("close", resolve));
      clearInterval(timer);
      expect(trailers["grpc-status"]).toBe("4");
      client.destroy();
    });
  });

  test("who takes nothing of an answer or an error loses it: a window of zero on HTTP/2", async () => {
    const workflowId = await newWorkflow(server.acme);
    await whileServed(async () => {
      const client = await raw2({ 4: 0 });
      const type: [string, string] = ["content-type", "application/json"];
      const key: [string, string] = ["authorization", scene.authorization];
      client.request(1, requestFields("/healthz", [], "GET"), { end: true });
      client.request(3, requestFields(createPath, [type]), { end: true });
      client.request(5, requestFields("/nowhere", [type]), { end: true });
      client.request(7, requestFields("/tributary.v1.WorkflowService/GetWorkflow", [type, key]));
      client.send(frame(frameType.data, flag.endStream, 7, Buffer.from(JSON.stringify({ workflowId }))));
      client.request(9, requestFields(`/api/tenants/acme/stream/workflows/${uuidv7()}`, [key], "GET"), {
        end: true,
      });
      for (const stream of [1, 3, 5, 7, 9])
        await until(() => expect(client.resetOf(stream), `stream ${stream}`).toBe(errorCode.calm));
      client.socket.destroy();
    });
  });

  // What follows is above TLS, or below.
  if (tls) return;

  test("so is the head of a later request on the same connection", async () => {
    await whileServed(async () => {
      const client = await raw1();
      client.socket.write(healthz);
      await until(() => expect(client.answer).toMatch(/^HTTP\/1\.1 200 .*alive/s));
      client.answer = "";
      client.socket.write("GET /healthz HTTP/1.1\r\n");
      await client.drip("x: y\r\n", 20);
      expect(client.answer).toMatch(/^HTTP\/1\.1 408 /);
    });
  });

  test("a connection of HTTP/1.1 that says nothing, at first or after a request, is closed", async () => {
    await whileServed(async () => {
      const silent = await raw1();
      const idle = await raw1();
      idle.socket.write(healthz);
      await Promise.all([silent.ended(), idle.ended()]);
      expect(idle.answer).toMatch(/^HTTP\/1\.1 200 /);
    });
  });

  test("PING does not keep a connection without calls", async () => {
    await whileServed(async () => {
      const client = await raw2();
      client.request(1, requestFields("/healthz", [], "GET"), { end: true });
      const timer = setInterval(() => client.send(frame(frameType.ping, 0, 0, Buffer.alloc(8))), 20);
      await client.ended().finally(() => clearInterval(timer));
      // First a notice, which refuses nothing, so that a call on its way is served.
      const codes = client.frames.filter(({ type }) => type === frameType.goaway);
      expect(codes[0]?.payload.readUInt32BE(0)).toBe(2 ** 31 - 1);
    });
  });

  test("a client that was told to go elsewhere comes back by itself, without an error", async () => {
    for (let round = 0; round < 2; round++) {
      await newWorkflow(server.acme);
      // Longer than a connection may be idle here.
      const idle = await raw2();
      idle.request(1, requestFields("/healthz", [], "GET"), { end: true });
      await idle.ended();
    }
    await newWorkflow(server.acme);
  });

  test("a call that takes a stream of messages may be as slow as it likes", async () => {
    const workflowId = await newWorkflow(server.acme);
    const transport = createGrpcTransport({
      baseUrl: server.url,
      nodeOptions: { rejectUnauthorized: false },
      interceptors: [
        (next) => (call) => {
          call.header.set("authorization", scene.authorization);
          return next(call);
        },
      ],
    });
    const { promise: goOn, resolve } = Promise.withResolvers<void>();
    const publishing = createClient(TaskStreamService, transport).publishTaskEvents(
      (async function* () {
        yield { events: [token(workflowId, "before")] };
        await goOn;
        yield { events: [token(workflowId, "after")] };
      })(),
    );
    // Others that began later have long been refused.
    for (let round = 0; round < 2; round++) {
      const client = await raw1();
      client.socket.write(post(createPath, `${json}content-length: 10\r\n`));
      await client.ended();
    }
    resolve();
    await publishing;
    expect(await readAll(server.acme, workflowId)).toHaveLength(3);
  });

  test("a body that nobody asked for keeps no connection, whatever was answered", async () => {
    await whileServed(async () => {
      for (const head of [
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\n",
        "POST /nowhere HTTP/1.1\r\nhost: localhost\r\n",
        "GET /healthz HTTP/1.1\r\nhost: [\r\n",
        `POST ${createPath} HTTP/1.1\r\nhost: localhost\r\n${json}`,
      ]) {
        const client = await raw1();
        client.socket.write(`${head}content-length: 100000\r\n\r\n`);
        await client.drip("x", 20);
        expect(client.answer).toMatch(/^HTTP\/1\.1 (200|404|400|401) /);
      }
    });
  });

  test("a reader may be as slow as it likes while its stream is open; what is left of it then has a limit", async () => {
    const workflowId = await newWorkflow(server.acme);
    const client = await raw2({ 4: 0 });
    const key: [string, string] = ["authorization", scene.authorization];
    const path = `/api/tenants/acme/stream/workflows/${workflowId}`;
    client.request(1, requestFields(path, [key], "GET"), { end: true });
    await until(() => expect(server.server.gauges().openCalls).toBe(1));
    await publish(server.acme, [token(workflowId, "unread")]);
    // Longer than a finished answer would be kept.
    client.request(3, requestFields("/healthz", [], "GET"), { end: true });
    await until(() => expect(client.resetOf(3)).toBe(errorCode.calm));
    expect(client.resetOf(1)).toBeUndefined();
    await server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
    await until(() => expect(client.resetOf(1)).toBe(errorCode.calm));
    client.socket.destroy();
    await until(() => expect(server.server.gauges().openCalls).toBe(0));
  });

  test("who reads nothing of many answers on HTTP/1.1 loses the connection", async () => {
    const workflowId = await newWorkflow(server.acme);
    await publish(
      server.acme,
      Array.from({ length: 9 }, () => token(workflowId, "x".repeat(100_000))),
    );
    await whileServed(async () => {
      const client = await raw1();
      const open = await connectionsTo(scene.port);
      client.socket.pause();
      const body = JSON.stringify({ workflowId });
      const request = `${post("/tributary.v1.EventStreamService/ReadEvents", `${json}content-length: ${body.length}\r\n`)}${body}`;
      for (let n = 0; n < 30; n++) client.socket.write(request);
      const closed = once(client.socket, "close");
      // It reads what was on its way only when the server has given up.
      await until(async () => expect(await connectionsTo(scene.port)).toBeLessThan(open));
      client.socket.resume();
      await closed;
      expect(client.answer.split("HTTP/1.1 200 ").length - 1).toBeLessThan(30);
    });
  });
});
