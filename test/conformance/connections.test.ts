/** What becomes of a connection, and of other calls on it, when a call is refused, fails, or is answered early. */

import { once } from "node:events";
import { Agent, type IncomingMessage, request } from "node:http";
import { type ClientHttp2Stream, connect } from "node:http2";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { TaskStreamService } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { limits } from "../../server/core/limits.ts";
import { until } from "../support/until.ts";
import { listen, Speaker } from "./calls.ts";
import { createCaller, wires } from "./combinations.ts";
import { envelope, json, outcomeOf, proto } from "./envelopes.ts";
import { authorization, useStack } from "./stack.ts";
import { begin, exchange, paths } from "./wire.ts";

const stack = useStack();
const unary = { authorization, "content-type": "application/json" };
const stream = { authorization, "content-type": "application/connect+json" };
const tooLarge = envelope(Buffer.alloc(limits.messageBytesIn + 1));

describe("HTTP/1.1", () => {
  interface Sent {
    readonly method?: string;
    readonly path?: string;
    readonly headers?: Record<string, string>;
    readonly body?: Uint8Array;
  }
  /** One request of an agent that has one connection. */
  async function send(
    agent: Agent,
    { method = "POST", path = paths.ask, headers = unary, body = json() }: Sent,
  ) {
    const outgoing = request(`${stack.url}${path}`, {
      agent,
      method,
      headers,
      signal: AbortSignal.timeout(2000),
    });
    // Written in two parts: so it goes without a length.
    outgoing.write(body.subarray(0, 1));
    outgoing.end(body.subarray(1));
    const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    return { status: incoming.statusCode, reused: outgoing.reusedSocket, body: Buffer.concat(chunks) };
  }

  const refused: Record<string, Sent & { status: number }> = {
    "an error of the handler": { body: json({ failure: { status: 5 } }), status: 404 },
    "a bug": { body: json({ failure: { bug: true } }), status: 500 },
    "an invalid message": { body: json({ note: "x".repeat(101) }), status: 400 },
    "bytes that are no JSON": { body: Buffer.from("{{"), status: 400 },
    "an error of a stream": {
      path: paths.recite,
      headers: stream,
      body: envelope(json({ answers: 2, failure: { status: 5 } })),
      status: 200,
    },
    "a missing credential": { headers: { "content-type": "application/json" }, status: 401 },
    "a missing credential, with much to read": {
      headers: { "content-type": "application/json" },
      body: Buffer.alloc(200_000, 32),
      status: 401,
    },
    "a wrong content type": { headers: { ...unary, "content-type": "image/jpeg" }, status: 415 },
    "a wrong method": { method: "PUT", status: 405 },
    "an unknown path": { path: "/nowhere", status: 404 },
  };

  test.each(Object.entries(refused))(
    "after %s the connection serves the next call",
    async (_, { status, ...sent }) => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      try {
        expect(await send(agent, sent)).toMatchObject({ status, reused: false });
        expect(await send(agent, {})).toMatchObject({ status: 200, reused: true });
      } finally {
        agent.destroy();
      }
    },
  );

  // The rest of the body stays unread, though the connection is said to be kept: see docs/conformance.md.
  test("after a message that was too large, sent without a length, the next call is answered", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    try {
      for (const sent of [
        { path: paths.collect, headers: stream, body: tooLarge },
        { body: Buffer.alloc(limits.messageBytesIn + 200_000, 32) },
      ]) {
        await send(agent, sent);
        expect(await send(agent, {})).toMatchObject({ status: 200 });
      }
    } finally {
      agent.destroy();
    }
  });
});

describe("HTTP/2", () => {
  test("calls that fail leave the others on their connection alone", async () => {
    const session = connect(stack.url);
    const open = (path: string, headers: Record<string, string>, body: Uint8Array) => {
      const call = session.request({ ":method": "POST", ":path": path, ...headers });
      call.on("error", () => {});
      call.end(body);
      return call;
    };
    try {
      const order = { call: "the one that stays", answers: 1, silence: 2 };
      const long = open(
        paths.recite,
        { authorization, "content-type": "application/grpc+proto" },
        envelope(proto(order)),
      );
      await once(long, "response");
      for (const [path, headers, body] of [
        [paths.ask, unary, Buffer.from("{{")],
        [paths.ask, { "content-type": "application/json" }, json()],
        [paths.recite, stream, envelope(json(), 1)],
        [paths.recite, stream, tooLarge],
        ["/nowhere", unary, json()],
      ] as const) {
        const failed: ClientHttp2Stream = open(path, headers, body);
        await once(failed, "response");
        failed.close(8);
      }
      const next = open(paths.ask, unary, json());
      const [head] = (await once(next, "response")) as [{ ":status": number }];
      expect(head[":status"]).toBe(200);
      expect(stack.watched("the one that stays")).toMatchObject({ ended: false });
      long.close(8);
      await until(() => expect(stack.watched("the one that stays")).toMatchObject({ ended: true }));
    } finally {
      session.destroy();
    }
  });

  // The server neither reads on nor resets the stream: Node's client keeps what it could not send. See docs/conformance.md.
  test.fails("after several messages that were too large, a client's connection still serves it", async () => {
    const [wire] = wires.filter(({ protocol }) => protocol === "grpc");
    if (wire === undefined) throw new Error("no gRPC");
    const caller = createCaller(stack, wire);
    const filler = new Uint8Array(limits.messageBytesIn);
    for (let round = 0; round < 6; round += 1) await listen(caller, "collect", [{ filler }]);
    expect((await listen(caller, "ask", [{}])).error).toBeUndefined();
  });

  test("an early answer is whole, and the stream is over when the client ends its side", async () => {
    const call = begin(stack.url, {
      http: "2",
      path: paths.converse,
      headers: { "content-type": "application/grpc+proto" },
      body: undefined,
    });
    call.write(envelope(proto({ note: "1", enough: 1, answers: 2 })));
    const answer = outcomeOf(await call.answered);
    expect(answer).toMatchObject({ code: 0, answers: [{ notes: ["1"] }, {}] });
    call.end();
    call.close();
  });

  test("headers come with the first message, not before (see docs/conformance.md)", async () => {
    const call = begin(stack.url, {
      http: "2",
      path: paths.converse,
      headers: { "content-type": "application/grpc+proto" },
      body: undefined,
    });
    let hasHead = false;
    call.head.then(
      () => {
        hasHead = true;
      },
      () => {},
    );
    call.write(
      envelope(proto({ call: "headers", headers: [{ name: "x-drill", values: ["early"] }], answers: 1 })),
    );
    await until(() => expect(stack.watched("headers").orders).toBe(1));
    await exchange(stack.url, { http: "2", path: paths.ask, headers: unary, body: json() });
    expect(hasHead).toBe(false);
    call.end();
    expect((await call.head).headers["x-drill"]).toBe("early");
    expect(outcomeOf(await call.answered).code).toBe(0);
    call.close();
  });

  test("three hundred calls at once on one connection are each answered their own", async () => {
    const caller = createCaller(
      stack,
      wires.find(({ protocol }) => protocol === "grpc") ?? (wires[0] as never),
    );
    const heard = await Promise.all(
      Array.from({ length: 300 }, (_, index) => listen(caller, "ask", [{ note: `${index}` }])),
    );
    expect(heard.map(({ answers }) => answers[0]?.notes[0])).toEqual(heard.map((_, index) => `${index}`));
  });
});

test.each(wires)(
  "an early end of a client stream reaches the client while it still sends: $name",
  async (wire) => {
    const speaker = new Speaker();
    speaker.say({ note: "1", enough: 2 });
    speaker.say({ note: "2" });
    const heard = await listen(createCaller(stack, wire), "collect", speaker);
    expect(heard).toMatchObject({ answers: [{ notes: ["1", "2"] }], error: undefined });
    speaker.close();
  },
);

describe("a method that this server does not know", () => {
  test("is UNIMPLEMENTED to a gRPC client", async () => {
    const client = createClient(TaskStreamService, createGrpcTransport({ baseUrl: stack.url }));
    await expect(client.streamTaskData({})).rejects.toMatchObject({ code: 12 });
  });

  // The 404's own JSON body says not_found, and a Connect client believes it: see docs/conformance.md.
  test("is UNIMPLEMENTED to a Connect client", async () => {
    const client = createClient(
      TaskStreamService,
      createConnectTransport({ baseUrl: stack.url, httpVersion: "1.1" }),
    );
    await expect(client.streamTaskData({})).rejects.toMatchObject({ code: 12 });
  });
});
