/** What only gRPC and gRPC-Web have: where the status is, how it is written, types with and without a codec. */
import { fromBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { envelope, json, outcomeOf, proto, split } from "./envelopes.ts";
import { DetailSchema } from "./schema.ts";
import { useStack } from "./stack.ts";
import { exchange, paths } from "./wire.ts";

const stack = useStack();

const text = "naïve 任务 😀 100% %41 a+b\nnext\r\nx-forged: yes";
const failing = {
  answers: 0,
  failure: { status: Code.DataLoss, message: text, details: [{ note: "detail" }] },
};
/** What gRPC allows unescaped in grpc-message. */
const percentEncoded = /^(?:[\x20-\x24\x26-\x7e]|%[0-9A-Fa-f]{2})*$/;

describe("gRPC", () => {
  const call = (path: string, order: object, type = "application/grpc+json") =>
    exchange(stack.url, {
      http: "2",
      path,
      headers: { "content-type": type, te: "trailers" },
      body: envelope(type.endsWith("json") ? json(order) : proto()),
    });

  test.each([paths.ask, paths.collect, paths.recite, paths.converse])(
    "%s: an error without an answer has its status in the trailers, and HTTP 200",
    async (path) => {
      const { status, headers, trailers, body } = await call(path, failing);
      expect(status).toBe(200);
      expect(body).toHaveLength(0);
      expect(headers["grpc-status"]).toBeUndefined();
      expect(trailers["grpc-status"]).toBe(`${Code.DataLoss}`);
      expect(trailers["grpc-message"]).toMatch(percentEncoded);
      expect(decodeURIComponent(`${trailers["grpc-message"]}`)).toBe(text);
      expect(trailers["x-forged"]).toBeUndefined();
    },
  );

  test("details come as a google.rpc.Status in base64", async () => {
    const { trailers } = await call(paths.ask, failing);
    const status = Buffer.from(`${trailers["grpc-status-details-bin"]}`, "base64");
    // Code, message and the detail's type are in it; the rest is the business of the client, which errors.test.ts has.
    expect(status.subarray(0, 2)).toEqual(Buffer.from([0x08, Code.DataLoss]));
    expect(status.includes(text)).toBe(true);
    expect(status.includes("type.googleapis.com/tributary.conformance.v1.Detail")).toBe(true);
    const value = status.subarray(status.indexOf("Detail") + "Detail".length + 2);
    expect(fromBinary(DetailSchema, value).note).toBe("detail");
  });

  test("a call that ends well has status 0 and no message in its trailers", async () => {
    const { trailers } = await call(paths.recite, { answers: 2 });
    expect(trailers).toMatchObject({ "grpc-status": "0" });
    expect(trailers["grpc-message"]).toBeUndefined();
  });

  test("application/grpc without a codec is Protobuf", async () => {
    for (const type of ["application/grpc", "application/grpc+proto"]) {
      const answer = await call(paths.ask, {}, type);
      expect(outcomeOf(answer)).toMatchObject({ code: 0, answers: [{ protocol: "grpc" }] });
    }
  });

  test("a method other than POST, and a codec that nobody knows, are refused by HTTP status", async () => {
    expect((await call(paths.ask, {}, "application/grpc+foo")).status).toBe(415);
    const deleted = { http: "2", method: "DELETE", path: paths.ask, body: envelope(proto()) } as const;
    expect(
      (await exchange(stack.url, { ...deleted, headers: { "content-type": "application/grpc" } })).status,
    ).toBe(405);
  });
});

describe.each(["1.1", "2"] as const)("gRPC-Web over HTTP/%s", (http) => {
  const call = (path: string, order: object, type = "application/grpc-web+json") =>
    exchange(stack.url, {
      http,
      path,
      headers: { "content-type": type, "x-grpc-web": "1" },
      body: envelope(type.endsWith("json") ? json(order) : proto()),
    });

  test("the status is the last envelope of the body, in lower case, and no HTTP trailer", async () => {
    for (const path of [paths.ask, paths.recite]) {
      const answer = await call(path, { ...failing, trailers: [{ name: "X-Drill", values: ["a"] }] });
      expect(answer.status).toBe(200);
      expect(answer.trailers).toEqual({});
      const [end, ...more] = split(answer.body);
      expect(more).toEqual([]);
      expect(end?.flags).toBe(0x80);
      const lines = `${end?.data}`.split("\r\n");
      expect(lines.pop()).toBe("");
      for (const line of lines) expect(line).toMatch(/^[a-z0-9-]+: \S/);
      expect(lines).toContain(`grpc-status: ${Code.DataLoss}`);
      expect(lines).toContain("x-drill: a");
      expect(outcomeOf(answer)).toMatchObject({ code: Code.DataLoss, message: text });
    }
  });

  test("answers come before the status, and none after it", async () => {
    const { body } = await call(paths.recite, { answers: 3 });
    expect(split(body).map(({ flags }) => flags)).toEqual([0, 0, 0, 0x80]);
  });

  test("application/grpc-web without a codec is Protobuf", async () => {
    for (const type of ["application/grpc-web", "application/grpc-web+proto"]) {
      const answer = await call(paths.ask, {}, type);
      expect(outcomeOf(answer)).toMatchObject({ code: 0, answers: [{ protocol: "grpc-web" }] });
    }
  });

  test("the base64 form of old browsers is not served: HTTP 415", async () => {
    expect((await call(paths.ask, {}, "application/grpc-web-text")).status).toBe(415);
  });
});
