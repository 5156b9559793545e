/**
 * Requests that no good client sends, made byte by byte: what each protocol answers to a wrong method, path, type, codec,
 * compression, deadline, envelope or number of messages. A call after each of them shows that nothing was harmed.
 */
import { gzipSync } from "node:zlib";
import { Code } from "@connectrpc/connect";
import { afterEach, describe, expect, test } from "vitest";
import { limits } from "../../server/core/limits.ts";
import { envelope, json, outcomeOf, proto } from "./envelopes.ts";
import { useStack } from "./stack.ts";
import { type Asked, begin, exchange, paths } from "./wire.ts";

const stack = useStack();

afterEach(async () => {
  const headers = { "content-type": "application/json" };
  const { status } = await exchange(stack.url, { http: "1.1", path: paths.ask, headers, body: json() });
  expect(status, "the server still works").toBe(200);
});

interface Wire {
  readonly name: string;
  readonly http: "1.1" | "2";
  readonly type: { readonly unary: string; readonly stream: string };
  readonly timeout: string;
  readonly encoding: { readonly unary: string; readonly stream: string };
  /** Is the message of a unary call enveloped? */
  readonly isEnveloped: boolean;
}

const connectWire = {
  type: { unary: "application/", stream: "application/connect+" },
  timeout: "connect-timeout-ms",
  encoding: { unary: "content-encoding", stream: "connect-content-encoding" },
  isEnveloped: false,
};
const grpcWire = (type: string) => ({
  type: { unary: `${type}+`, stream: `${type}+` },
  timeout: "grpc-timeout",
  encoding: { unary: "grpc-encoding", stream: "grpc-encoding" },
  isEnveloped: true,
});
const wires: readonly Wire[] = [
  { name: "connect over HTTP/1.1", http: "1.1", ...connectWire },
  { name: "connect over HTTP/2", http: "2", ...connectWire },
  { name: "grpc over HTTP/2", http: "2", ...grpcWire("application/grpc") },
  { name: "grpc-web over HTTP/1.1", http: "1.1", ...grpcWire("application/grpc-web") },
  { name: "grpc-web over HTTP/2", http: "2", ...grpcWire("application/grpc-web") },
];

describe.each(wires)("$name", ({ http, type, timeout, encoding, isEnveloped }) => {
  type Extra = Partial<Omit<Asked, "http">> & { codec?: string };
  const ask = ({ codec = "proto", headers, ...rest }: Extra = {}) =>
    exchange(stack.url, {
      http,
      path: paths.ask,
      headers: {
        "content-type": `${type.unary}${codec}`,
        ...(isEnveloped ? { te: "trailers" } : {}),
        ...headers,
      },
      body: isEnveloped ? envelope(proto()) : proto(),
      ...rest,
    });
  const recite = ({ codec = "proto", headers, ...rest }: Extra = {}) =>
    ask({
      path: paths.recite,
      body: envelope(proto()),
      headers: { "content-type": `${type.stream}${codec}`, ...headers },
      ...rest,
    });
  const codeOf = async (answer: ReturnType<typeof ask>) => outcomeOf(await answer).code;

  test.each(["proto", "json"])(
    "a plain %s call is answered in its own type, uncompressed, and nothing else",
    async (codec) => {
      const message = codec === "json" ? json({ note: "plain" }) : proto({ note: "plain" });
      const answer = await ask({
        codec,
        body: isEnveloped ? envelope(message) : message,
        headers: { "accept-encoding": "gzip, br", "grpc-accept-encoding": "gzip" },
      });
      expect(answer.status).toBe(200);
      expect(answer.headers["content-type"]).toBe(`${type.unary}${codec}`);
      expect(answer.headers["content-encoding"]).toBeUndefined();
      // Our own decoder does not unpack: it would fail on a compressed answer.
      expect(outcomeOf(answer)).toMatchObject({ code: 0, answers: [{ notes: ["plain"] }] });
    },
  );

  test("a stream's answers are uncompressed, whatever the client accepts", async () => {
    const headers = { "connect-accept-encoding": "gzip", "grpc-accept-encoding": "gzip" };
    const answer = await recite({ headers, body: envelope(proto({ answers: 3, answerBytes: 50_000 })) });
    expect(outcomeOf(answer)).toMatchObject({ code: 0 });
    expect(outcomeOf(answer).answers).toHaveLength(3);
  });

  test("a gzip request is unpacked; one that unpacks to too much is RESOURCE_EXHAUSTED", async () => {
    const packed = (message: Uint8Array) => envelope(gzipSync(message), 1);
    const headers = { [encoding.stream]: "gzip" };
    const good = await recite({ headers, body: packed(proto({ note: "packed", answers: 1 })) });
    expect(outcomeOf(good)).toMatchObject({ code: 0, answers: [{ notes: ["packed"] }] });
    const bomb = proto({ filler: new Uint8Array(limits.messageBytesIn) });
    expect(await codeOf(recite({ headers, body: packed(bomb) }))).toBe(Code.ResourceExhausted);
    const unary = { [encoding.unary]: "gzip" };
    const body = isEnveloped ? packed(bomb) : gzipSync(bomb);
    expect(await codeOf(ask({ headers: unary, body }))).toBe(Code.ResourceExhausted);
  });

  test("a compression that the server does not know is UNIMPLEMENTED, and the known ones are named", async () => {
    for (const answer of [
      await ask({ headers: { [encoding.unary]: "foo" } }),
      await recite({ headers: { [encoding.stream]: "foo" } }),
    ]) {
      const { code, message, metadata } = outcomeOf(answer);
      expect(code).toBe(Code.Unimplemented);
      expect(message).toContain("gzip,br");
      // Not in a field of its own, as it might be: see docs/conformance.md.
      const fields = [...Object.keys(metadata), ...Object.keys(answer.headers)];
      expect(fields.filter((name) => name.endsWith("accept-encoding"))).toEqual([]);
    }
  });

  test("a compressed message in a call that declares no compression is INTERNAL", async () => {
    const body = envelope(gzipSync(proto()), 1);
    expect(await codeOf(recite({ body }))).toBe(Code.Internal);
    expect(await codeOf(recite({ body, headers: { [encoding.stream]: "identity" } }))).toBe(Code.Internal);
  });

  test("bytes that are no gzip, no message or no JSON are the caller's fault", async () => {
    // connect-node calls bytes that are no message INTERNAL: see docs/conformance.md.
    expect(await codeOf(recite({ body: envelope(Buffer.from([0xff, 0xff, 0xff])) }))).toBe(Code.Internal);
    const faults = [
      recite({ headers: { [encoding.stream]: "gzip" }, body: envelope(Buffer.from("no gzip"), 1) }),
      recite({ codec: "json", body: envelope(Buffer.from("{")) }),
      ask({ codec: "json", body: isEnveloped ? envelope(Buffer.from("[]")) : Buffer.from("[]") }),
    ];
    for (const fault of faults) expect(await codeOf(fault)).toBe(Code.InvalidArgument);
  });

  test("an unknown method or service is HTTP 404, which every protocol reads as UNIMPLEMENTED", async () => {
    for (const path of [`${paths.ask}s`, "/tributary.conformance.v1.Nothing/Ask", "/"]) {
      const { status, headers } = await ask({ path });
      expect(status).toBe(404);
      expect(headers["content-type"]).toBe("application/json");
      expect(headers["grpc-status"]).toBeUndefined();
    }
    expect(await codeOf(ask({ path: paths.missing }))).toBe(Code.Unimplemented);
  });

  test("a method other than POST is HTTP 405", async () => {
    for (const method of ["GET", "PUT", "DELETE", "PATCH"]) {
      expect((await ask({ method, body: Buffer.alloc(0) })).status, method).toBe(405);
      expect((await recite({ method, body: Buffer.alloc(0) })).status, method).toBe(405);
    }
  });

  test("a content type that the server does not know is HTTP 415, and no handler runs", async () => {
    for (const codec of ["foo", "proto+json", ""]) {
      expect((await recite({ codec: `${codec}x` })).status, codec).toBe(415);
    }
    for (const contentType of [
      "image/jpeg",
      "text/plain",
      "application/foo",
      "application/grpc-web-text",
      undefined,
    ]) {
      expect((await ask({ headers: { "content-type": contentType } })).status, contentType).toBe(415);
    }
  });

  test("JSON may name its charset", async () => {
    const message = json({ note: "ä" });
    const body = isEnveloped ? envelope(message) : message;
    const answer = await ask({ headers: { "content-type": `${type.unary}json; charset=utf-8` }, body });
    expect(outcomeOf(answer)).toMatchObject({ code: 0, answers: [{ notes: ["ä"] }] });
  });

  test("fields of JSON that the server does not know yet are ignored", async () => {
    expect(await codeOf(recite({ codec: "json", body: envelope(json({ unheardOf: 1 })) }))).toBe(0);
  });

  test("a deadline that is no number of the protocol is INVALID_ARGUMENT", async () => {
    const wrong = isEnveloped
      ? ["", "5", "S", "-5S", "1.5S", "5x", "123456789S", "5 S", "5s"]
      : ["", "-5", "1.5", "5s", "12345678901", "0x5", "soon"];
    for (const value of wrong) {
      expect(await codeOf(ask({ headers: { [timeout]: value } })), value).toBe(Code.InvalidArgument);
      expect(await codeOf(recite({ headers: { [timeout]: value } })), value).toBe(Code.InvalidArgument);
    }
  });

  test("a deadline ends a silent call with DEADLINE_EXCEEDED, before answers and after them", async () => {
    const headers = { [timeout]: isEnveloped ? "100m" : "100" };
    const silent = proto({ silence: 1 });
    expect(await codeOf(ask({ headers, body: isEnveloped ? envelope(silent) : silent }))).toBe(
      Code.DeadlineExceeded,
    );
    const late = outcomeOf(await recite({ headers, body: envelope(proto({ answers: 2, silence: 2 })) }));
    expect(late.code).toBe(Code.DeadlineExceeded);
    expect(late.answers).toHaveLength(2);
  });

  test("a deadline in every unit is understood", async () => {
    const values: [string, number][] = isEnveloped
      ? [
          ["1H", 3.6e6],
          ["2M", 120_000],
          ["30S", 30_000],
          ["20000m", 20_000],
          ["15000000u", 15_000],
        ]
      : [
          ["20000", 20_000],
          ["0000020000", 20_000],
        ];
    for (const [value, ms] of values) {
      const [answer] = outcomeOf(
        await recite({ headers: { [timeout]: value }, body: envelope(proto({ answers: 1 })) }),
      ).answers;
      expect(answer?.timeoutMs, value).toBeGreaterThan(ms - 10_000);
      expect(answer?.timeoutMs, value).toBeLessThanOrEqual(ms);
    }
  });

  // Timers of Node end at 24.8 days, a longer one fires at once: see docs/conformance.md.
  test("a deadline that is months away is no deadline that has passed", async () => {
    const values = isEnveloped ? ["600H", "99999999H"] : ["2147483648", "9999999999"];
    for (const value of values) {
      const slow = begin(stack.url, {
        http,
        path: paths.collect,
        headers: { "content-type": `${type.stream}proto`, [timeout]: value },
        body: undefined,
      });
      slow.write(envelope(proto()));
      await exchange(stack.url, {
        http,
        path: "/healthz",
        method: "GET",
        headers: {},
        body: Buffer.alloc(0),
      });
      slow.write(envelope(proto()));
      slow.end();
      expect(outcomeOf(await slow.answered).code, value).toBe(0);
      slow.close();
    }
  });

  test("no message, or two, where one is due are UNIMPLEMENTED", async () => {
    const two = Buffer.concat([envelope(proto()), envelope(proto())]);
    for (const body of [Buffer.alloc(0), two]) {
      expect(await codeOf(recite({ body }))).toBe(Code.Unimplemented);
      if (isEnveloped) expect(await codeOf(ask({ body }))).toBe(Code.Unimplemented);
    }
    // Connect's unary message is the body: no bytes are an empty message.
    if (!isEnveloped) expect(await codeOf(ask({ body: Buffer.alloc(0) }))).toBe(0);
  });

  test("a message that is cut off is INVALID_ARGUMENT", async () => {
    const whole = envelope(proto({ note: "whole" }));
    for (const body of [
      whole.subarray(0, 3),
      whole.subarray(0, -1),
      Buffer.concat([whole, whole.subarray(0, 4)]),
    ]) {
      expect(await codeOf(recite({ body })), `${body.length}`).toBe(Code.InvalidArgument);
      expect(await codeOf(recite({ path: paths.collect, body })), `${body.length}`).toBe(
        Code.InvalidArgument,
      );
    }
  });

  test("a message cut off just after its length is taken for no message (see docs/conformance.md)", async () => {
    const body = envelope(proto({ note: "whole" })).subarray(0, 5);
    expect(await codeOf(recite({ body }))).toBe(Code.Unimplemented);
    expect(await codeOf(recite({ path: paths.collect, body }))).toBe(0);
  });

  test("a length beyond the limit is refused before its bytes come", async () => {
    for (const length of [limits.messageBytesIn + 1, 0xffffffff]) {
      expect(await codeOf(recite({ body: envelope(proto(), 0, length) }))).toBe(Code.ResourceExhausted);
    }
  });

  test("messages of no bytes are messages, flags that nobody defined are ignored", async () => {
    expect(await codeOf(recite({ body: envelope(Buffer.alloc(0)) }))).toBe(0);
    expect(await codeOf(recite({ body: envelope(proto(), 0x08) }))).toBe(0);
  });

  test("fields of one name that come several times are all seen", async () => {
    const headers = { "x-drill-many": ["one", "two"] };
    const [answer] = outcomeOf(await recite({ headers, body: envelope(proto({ answers: 1 })) })).answers;
    expect(answer?.headers["x-drill-many"]).toBe("one, two");
  });

  test("without a credential the body is not read: the answer comes while the request is open", async () => {
    const answer = await ask({ headers: { authorization: undefined } });
    expect(outcomeOf(answer).code).toBe(Code.Unauthenticated);
    expect(answer.status).toBe(isEnveloped ? 200 : 401);
    expect(
      await codeOf(recite({ headers: { authorization: undefined }, body: envelope(proto(), 0, 100) })),
    ).toBe(Code.Unauthenticated);
  });
});
