/** Metadata in every way to call: several values of one name, binary values, names in any case, both directions. */
import { Code, decodeBinaryHeader, encodeBinaryHeader } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { kindsOf, listen, type OrderInit } from "./calls.ts";
import { combinations, createCaller } from "./combinations.ts";
import { useStack } from "./stack.ts";

const stack = useStack();

/** Every byte, so that every letter of base64 is needed and the length is no multiple of three. */
const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);

const order: OrderInit = {
  headers: [
    { name: "x-drill-header", values: ["one", "two", "three"] },
    { name: "X-Drill-Mixed", values: ["Case Is Kept"] },
    { name: "x-drill-bin", values: [encodeBinaryHeader(bytes)] },
  ],
  trailers: [
    { name: "x-drill-trailer", values: ["four", "five"] },
    {
      name: "x-drill-trailer-bin",
      values: [encodeBinaryHeader(bytes), encodeBinaryHeader(new Uint8Array([0]))],
    },
  ],
};
const failure: OrderInit["failure"] = {
  kind: { case: "status", value: Code.Aborted },
  message: "as ordered",
  metadata: [
    { name: "x-drill-error", values: ["six", "seven"] },
    { name: "x-drill-error-bin", values: [encodeBinaryHeader(bytes)] },
  ],
};

/** Values of one name may come joined. */
const valuesOf = (headers: Headers, name: string) => headers.get(name)?.split(/, */);
const bytesOf = (headers: Headers, name: string) =>
  valuesOf(headers, name)?.map((value) => decodeBinaryHeader(value));

function expectTrailers(trailer: Headers): void {
  expect(valuesOf(trailer, "x-drill-trailer")).toEqual(["four", "five"]);
  expect(bytesOf(trailer, "x-drill-trailer-bin")).toEqual([bytes, new Uint8Array([0])]);
}

function expectHeaders(header: Headers): void {
  expect(valuesOf(header, "x-drill-header")).toEqual(["one", "two", "three"]);
  expect(header.get("x-drill-mixed")).toBe("Case Is Kept");
  expect(bytesOf(header, "x-drill-bin")).toEqual([bytes]);
}

describe.each(combinations)("$name", (combination) => {
  const caller = createCaller(stack, combination);

  test.each(kindsOf(caller))("%s: the handler sees all values of the request's headers", async (kind) => {
    const headers = new Headers({ "X-Drill-Case": "Kept", "x-drill-bin": encodeBinaryHeader(bytes) });
    for (const value of ["one", "two", "three"]) headers.append("x-drill-many", value);
    const { answers, error } = await listen(caller, kind, [{ answers: 1 }], { headers });
    expect(error).toBeUndefined();
    const seen = new Headers(answers[0]?.headers);
    expect(valuesOf(seen, "x-drill-many")).toEqual(["one", "two", "three"]);
    expect(seen.get("x-drill-case")).toBe("Kept");
    expect(bytesOf(seen, "x-drill-bin")).toEqual([bytes]);
  });

  test.each(kindsOf(caller))("%s: the client sees all values of headers and trailers", async (kind) => {
    const { header, trailer, error } = await listen(caller, kind, [{ ...order, answers: 1 }]);
    expect(error).toBeUndefined();
    expectHeaders(header);
    expectTrailers(trailer);
  });

  test.each(kindsOf(caller))("%s: the same where the call fails without an answer", async (kind) => {
    const { error, header } = await listen(caller, kind, [{ ...order, failure }]);
    expect(error?.code).toBe(Code.Aborted);
    const metadata = error?.metadata ?? new Headers();
    expect(valuesOf(metadata, "x-drill-error")).toEqual(["six", "seven"]);
    expect(bytesOf(metadata, "x-drill-error-bin")).toEqual([bytes]);
    expectTrailers(metadata);
    expectHeaders(header.has("x-drill-header") ? header : metadata);
  });

  for (const kind of kindsOf(caller).filter((kind) => kind === "recite" || kind === "converse")) {
    test(`${kind}: the same where it ends well without an answer, or fails after two`, async () => {
      const empty = await listen(caller, kind, [order]);
      expect(empty).toMatchObject({ answers: [], error: undefined });
      expectHeaders(empty.header);
      expectTrailers(empty.trailer);
      const failed = await listen(caller, kind, [{ ...order, answers: 2, failure }]);
      expect(failed.answers).toHaveLength(2);
      expectHeaders(failed.header);
      expectTrailers(failed.error?.metadata ?? new Headers());
      expect(valuesOf(failed.error?.metadata ?? new Headers(), "x-drill-error")).toEqual(["six", "seven"]);
    });
  }

  test("an error cannot write the protocol's own fields", async () => {
    const { error } = await listen(caller, "recite", [
      {
        failure: {
          ...failure,
          metadata: [
            { name: "grpc-status", values: ["0"] },
            { name: "grpc-message", values: ["forged"] },
            { name: "content-type", values: ["text/html"] },
            { name: "content-length", values: ["7"] },
          ],
        },
      },
    ]);
    expect(error).toMatchObject({ code: Code.Aborted, rawMessage: "as ordered" });
    expect(error?.metadata.get("content-type")).not.toBe("text/html");
    expect(error?.metadata.get("content-length")).not.toBe("7");
  });
});
