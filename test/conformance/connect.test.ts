/** What only Connect has: HTTP statuses for codes, GET, the version header, JSON errors, trailers among the headers. */
import { gzipSync } from "node:zlib";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { listen } from "./calls.ts";
import { combinations, createCaller } from "./combinations.ts";
import { envelope, json, outcomeOf, proto, split } from "./envelopes.ts";
import { useStack } from "./stack.ts";
import { exchange, paths } from "./wire.ts";

const stack = useStack();

const statuses: readonly [name: string, code: Code, status: number][] = [
  ["canceled", Code.Canceled, 499],
  ["unknown", Code.Unknown, 500],
  ["invalid_argument", Code.InvalidArgument, 400],
  ["deadline_exceeded", Code.DeadlineExceeded, 504],
  ["not_found", Code.NotFound, 404],
  ["already_exists", Code.AlreadyExists, 409],
  ["permission_denied", Code.PermissionDenied, 403],
  ["resource_exhausted", Code.ResourceExhausted, 429],
  ["failed_precondition", Code.FailedPrecondition, 400],
  ["aborted", Code.Aborted, 409],
  ["out_of_range", Code.OutOfRange, 400],
  ["unimplemented", Code.Unimplemented, 501],
  ["internal", Code.Internal, 500],
  ["unavailable", Code.Unavailable, 503],
  ["data_loss", Code.DataLoss, 500],
  ["unauthenticated", Code.Unauthenticated, 401],
];

describe.each(["1.1", "2"] as const)("over HTTP/%s", (http) => {
  const headers = { "content-type": "application/json" };
  const ask = (order: object, extra: Record<string, string> = {}) =>
    exchange(stack.url, { http, path: paths.ask, headers: { ...headers, ...extra }, body: json(order) });
  const look = (query: string, extra: Record<string, string> = {}) =>
    exchange(stack.url, {
      http,
      method: "GET",
      path: `${paths.look}?${query}`,
      headers: extra,
      body: Buffer.alloc(0),
    });

  test.each(statuses)(
    "%s of a unary call has its HTTP status, and a JSON body",
    async (name, code, status) => {
      const answer = await ask({ failure: { status: code, message: "why" } });
      expect(answer.status).toBe(status);
      expect(answer.headers["content-type"]).toBe("application/json");
      expect(JSON.parse(answer.body.toString())).toEqual({ code: name, message: "why" });
    },
  );

  test("an error of a stream comes with HTTP 200, in its last envelope", async () => {
    for (const path of [paths.collect, paths.recite, ...(http === "2" ? [paths.converse] : [])]) {
      const answer = await exchange(stack.url, {
        http,
        path,
        headers: { "content-type": "application/connect+json" },
        body: envelope(json({ failure: { status: Code.Aborted, message: "why" } })),
      });
      expect(answer.status).toBe(200);
      const [end, ...more] = split(answer.body);
      expect(more).toEqual([]);
      expect(end?.flags).toBe(2);
      expect(JSON.parse(`${end?.data}`)).toMatchObject({ error: { code: "aborted", message: "why" } });
    }
  });

  test("details come as type, unpadded base64, and readable", async () => {
    const { body } = await ask({ failure: { status: Code.Aborted, details: [{ note: "why" }] } });
    const { details } = JSON.parse(body.toString()) as { details: unknown };
    expect(details).toEqual([
      { type: "tributary.conformance.v1.Detail", value: "CgN3aHk", debug: { note: "why" } },
    ]);
  });

  test("trailers of a unary call are headers with a prefix; of a stream, metadata of its last envelope", async () => {
    const trailers = [{ name: "x-drill", values: ["a", "b"] }];
    expect((await ask({ trailers })).headers["trailer-x-drill"]).toBe("a, b");
    const stream = await exchange(stack.url, {
      http,
      path: paths.recite,
      headers: { "content-type": "application/connect+json" },
      body: envelope(json({ trailers })),
    });
    expect(outcomeOf(stream).metadata["x-drill"]).toBe("a, b");
    expect(stream.headers["trailer-x-drill"]).toBeUndefined();
  });

  test("the version header may be there or missing; another version is let pass (see docs/conformance.md)", async () => {
    for (const version of ["1", "2", "nonsense"]) {
      expect((await ask({}, { "connect-protocol-version": version })).status, version).toBe(200);
    }
    expect((await ask({})).status).toBe(200);
  });

  test("a method without side effects may be called by GET, in both codecs, plain, base64 or packed", async () => {
    const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64url");
    const order = { note: "by GET ä&=" };
    for (const query of [
      `connect=v1&encoding=json&message=${encodeURIComponent(JSON.stringify(order))}`,
      `connect=v1&encoding=json&base64=1&message=${base64(json(order))}`,
      `connect=v1&encoding=proto&base64=1&message=${base64(proto(order))}`,
      `connect=v1&encoding=proto&base64=1&compression=gzip&message=${base64(gzipSync(proto(order)))}`,
    ]) {
      expect(outcomeOf(await look(query)), query).toMatchObject({
        code: 0,
        answers: [{ notes: [order.note], httpMethod: "GET" }],
      });
    }
  });

  test("a GET that is wrong is refused: codec, compression, message, deadline, stream, a method with side effects", async () => {
    expect((await look("connect=v1&encoding=foo&message=x")).status).toBe(415);
    expect((await look("connect=v1&message=x")).status).toBe(415);
    expect(outcomeOf(await look("connect=v1&encoding=json&compression=foo&message={}")).code).toBe(
      Code.Unimplemented,
    );
    expect(outcomeOf(await look("connect=v1&encoding=json&message=%7B")).code).toBe(Code.InvalidArgument);
    expect(outcomeOf(await look("connect=v1&encoding=json")).code).toBe(Code.InvalidArgument);
    const late = await look("connect=v1&encoding=json&message={}", { "connect-timeout-ms": "soon" });
    expect(outcomeOf(late).code).toBe(Code.InvalidArgument);
    for (const path of [paths.ask, paths.recite]) {
      const query = `${path}?connect=v1&encoding=json&message={}`;
      const answer = await exchange(stack.url, {
        http,
        method: "GET",
        path: query,
        headers: {},
        body: Buffer.alloc(0),
      });
      expect(answer.status, path).toBe(405);
    }
  });

  test("unary content types do not fit streams, nor those of streams a unary call", async () => {
    const unary = {
      http,
      path: paths.ask,
      headers: { "content-type": "application/connect+json" },
      body: json(),
    };
    expect((await exchange(stack.url, unary)).status).toBe(415);
    const stream = {
      http,
      path: paths.recite,
      headers: { "content-type": "application/json" },
      body: json(),
    };
    expect((await exchange(stack.url, stream)).status).toBe(415);
  });

  test("a bidirectional stream needs HTTP/2: HTTP/1.1 gets 505", async () => {
    const answer = await exchange(stack.url, {
      http,
      path: paths.converse,
      headers: { "content-type": "application/connect+json" },
      body: envelope(json({ answers: 1 })),
    });
    expect(answer.status).toBe(http === "1.1" ? 505 : 200);
    if (http === "1.1") expect(answer.headers.connection).toBe("close");
  });
});

test.each(combinations.filter(({ protocol }) => protocol === "connect"))(
  "the client's GET works: $name",
  async (combination) => {
    const caller = createCaller(stack, { ...combination, useGet: true });
    const { answers, error } = await listen(caller, "look", [{ note: "by GET" }]);
    expect(error).toBeUndefined();
    expect(answers).toMatchObject([{ notes: ["by GET"], httpMethod: "GET" }]);
  },
);
