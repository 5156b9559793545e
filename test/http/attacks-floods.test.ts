/** Clients that send much of what costs them little: frames without end, calls that are broken off at once. */
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { describe, expect, test } from "vitest";
import { newWorkflow } from "../api/trees.ts";
import { until } from "../support/until.ts";
import { transports, useAttacked } from "./attack-scene.ts";
import {
  errorCode,
  flag,
  frame,
  frameType,
  headerBlock,
  requestFields,
  settings,
  uint32,
} from "./raw-http2.ts";

const many = (count: number, bytes: Buffer) => Buffer.concat(Array<Buffer>(count).fill(bytes));
const json: [string, string] = ["content-type", "application/json"];
const healthCheck = "/grpc.health.v1.Health/Check";
const health = headerBlock(requestFields(healthCheck, [json]));

/** Each with what is sent before, what is sent without end, how many at a time, and the code with which it is ended. */
const floods: readonly (readonly [
  name: string,
  first: readonly Buffer[],
  flood: Buffer,
  codes: readonly number[],
])[] = [
  ["PING, whose answers nobody reads", [], many(1000, frame(frameType.ping, 0, 0, Buffer.alloc(8))), [2, 11]],
  ["SETTINGS", [], many(1000, settings({ 4: 65_535 })), [2, 11]],
  [
    "a SETTINGS of too many entries",
    [],
    settings(Object.fromEntries(Array.from({ length: 200 }, (_, n) => [n + 32, 1]))),
    [11],
  ],
  ["PRIORITY", [], many(1000, frame(frameType.priority, 0, 1, Buffer.from([0, 0, 0, 3, 1]))), [11]],
  [
    "DATA that is empty",
    [frame(frameType.headers, flag.endHeaders, 1, health)],
    many(1000, frame(frameType.data, 0, 1)),
    [2, 11],
  ],
  [
    "CONTINUATION",
    [frame(frameType.headers, 0, 1, health)],
    many(100, frame(frameType.continuation, 0, 1, headerBlock([["a", "b"]]))),
    [2, 11],
  ],
  [
    "CONTINUATION that is empty",
    [frame(frameType.headers, 0, 1, health)],
    many(100, frame(frameType.continuation, 0, 1)),
    [2, 11],
  ],
  ["frames of an unknown type", [], many(1000, frame(200, 0, 0, Buffer.alloc(8))), [11]],
  [
    "frames beyond the largest",
    [frame(frameType.headers, flag.endHeaders, 1, health)],
    frame(frameType.data, 0, 1, Buffer.alloc(16_385)),
    [errorCode.frameSize],
  ],
];

describe.each(transports)("%s", async (_, tls) => {
  // Calls that are broken off are few here, so that it is seen without thousands.
  const scene = await useAttacked(tls, { abandonedBurst: 1200, abandonedPerSecond: 10, openBodyMs: 500 });
  const { server, raw2, whileServed } = scene;

  test.each(floods)("a flood of %s ends the connection", async (_name, first, flood, codes) => {
    await whileServed(async () => {
      const client = await raw2();
      // Its own SETTINGS are acknowledged before, so that all is in order until then.
      client.send(frame(frameType.settings, flag.ack, 0), ...first);
      expect(await client.flood(() => flood, 100_000)).toBeLessThan(1000);
      await client.ended();
      if (client.goaway !== undefined) expect(codes).toContain(client.goaway);
    });
  });

  test("WINDOW_UPDATE, of which Node does not keep count, delays nobody", async () => {
    await whileServed(async () => {
      const client = await raw2();
      const flood = many(1000, frame(frameType.windowUpdate, 0, 0, uint32(1)));
      await client.flood(() => flood, 200);
      client.socket.destroy();
    });
  });

  test("rapid reset: calls that are opened to be broken off at once end the connection", async () => {
    await whileServed(async () => {
      const client = await raw2();
      let next = 1;
      const fields = headerBlock(requestFields(healthCheck, [json]));
      const pairs = () => {
        const frames: Buffer[] = [];
        for (let n = 0; n < 50; n++, next += 2)
          frames.push(
            frame(frameType.headers, flag.endHeaders, next, fields),
            frame(frameType.reset, 0, next, uint32(8)),
          );
        return Buffer.concat(frames);
      };
      await client.flood(pairs, 1000);
      await client.ended();
      // Some more were on their way.
      expect(next / 2).toBeLessThan(10_000);
      if (client.goaway !== undefined) expect([2, errorCode.calm]).toContain(client.goaway);
    });
  });

  test("a client that breaks off a thousand calls at once is served on", async () => {
    const workflowId = await newWorkflow(server.acme);
    const session = connectHttp2(server.url, { rejectUnauthorized: false });
    session.on("error", () => {}); // it is what is asserted below
    const path = `/api/tenants/acme/stream/workflows/${workflowId}`;
    for (let round = 0; round < 2; round++) {
      const calls = Array.from({ length: 1000 }, () =>
        session.request({ ":path": path, authorization: scene.authorization }),
      );
      // In the first round before any was answered, in the second when they are at work.
      if (round === 1) await Promise.all(calls.map((call) => once(call, "response")));
      else await once(session, "remoteSettings");
      const closed = Promise.all(calls.map((call) => once(call, "close")));
      for (const call of calls) call.close(8);
      await closed;
    }
    const other = session.request({ ":path": "/healthz" });
    const [answer] = await once(other, "response");
    expect(answer[":status"]).toBe(200);
    session.destroy();
    await until(() => expect(server.server.gauges().openCalls).toBe(0));
  });
});

describe("few streams", async () => {
  const scene = await useAttacked(false, { streams: 50, openStreams: 20, openBodyMs: 400 });
  const { raw1, raw2, whileServed } = scene;

  test("a connection that opens more than it may is ended", async () => {
    await whileServed(async () => {
      const client = await raw2();
      client.send(frame(frameType.settings, flag.ack, 0));
      for (let stream = 1; stream < 2 * 200; stream += 2)
        client.request(stream, requestFields(healthCheck, [json]));
      await client.ended();
      expect([1, errorCode.refused, errorCode.calm]).toContain(client.goaway);
    });
  });

  test("streams that need no credential are bounded for all clients together, and health is told all the while", async () => {
    const watch = "/grpc.health.v1.Health/Watch";
    const type: [string, string] = ["content-type", "application/connect+json"];
    await whileServed(async () => {
      const client = await raw2();
      for (let stream = 1; stream < 2 * 30; stream += 2) {
        client.request(stream, requestFields(watch, [type]));
        client.send(frame(frameType.data, flag.endStream, stream, Buffer.from("\0\0\0\0\x02{}")));
      }
      const answered = () =>
        client.frames.filter(
          ({ type, payload }) =>
            (type === frameType.data && payload.includes("too many")) ||
            payload.includes("need no credential"),
        );
      await until(() => expect(answered()).toHaveLength(10));
      const check = await raw1();
      check.socket.write(
        `POST ${healthCheck} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`,
      );
      await check.ended();
      expect(check.answer).toContain('{"status":"SERVING"}');
      client.socket.destroy();
    });
    // What they held is free again.
    const again = await raw2();
    again.request(1, requestFields(watch, [type]));
    again.send(frame(frameType.data, flag.endStream, 1, Buffer.from("\0\0\0\0\x02{}")));
    await until(() => expect(again.frames.some(({ payload }) => payload.includes("SERVING"))).toBe(true));
    again.socket.destroy();
  });
});
