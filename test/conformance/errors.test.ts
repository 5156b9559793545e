/** Errors in every way to call: all codes, texts, details and metadata, before, after and instead of answers. */
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { kindsOf, listen, type OrderInit } from "./calls.ts";
import { anonymous, combinations, createCaller } from "./combinations.ts";
import { DetailSchema } from "./schema.ts";
import { useStack } from "./stack.ts";

const stack = useStack();

const codes = Object.entries(Code).filter((entry): entry is [string, Code] => typeof entry[1] === "number");

/** Letters of several scripts, a character beyond the basic plane, and what percent-encoding must not break. */
const text = 'naïve 任务 😀 100% "quoted" \\ %41 a+b\nnext line\ttab';

const failing = (status: Code, message = `it is ${Code[status]}`): OrderInit => ({
  failure: { kind: { case: "status", value: status }, message },
});

describe.each(combinations)("$name", (combination) => {
  const caller = createCaller(stack, combination);

  test.each(codes)("a unary call that ends with %s says so", async (name, code) => {
    const { answers, error } = await listen(caller, "ask", [failing(code)]);
    expect(answers).toEqual([]);
    expect(error).toMatchObject({ code, rawMessage: `it is ${name}` });
  });

  test.each(codes)(
    "a server stream that ends with %s after two answers gives both first",
    async (name, code) => {
      const { answers, error } = await listen(caller, "recite", [{ answers: 2, ...failing(code) }]);
      expect(answers).toHaveLength(2);
      expect(error).toMatchObject({ code, rawMessage: `it is ${name}` });
    },
  );

  test.each(kindsOf(caller))(
    "%s: an error brings its text, details, metadata, and the call's headers",
    async (kind) => {
      const order: OrderInit = {
        headers: [{ name: "x-drill-header", values: ["of the answer"] }],
        trailers: [{ name: "x-drill-trailer", values: ["at its end"] }],
        failure: {
          kind: { case: "status", value: Code.FailedPrecondition },
          message: text,
          metadata: [{ name: "x-drill-error", values: ["of the error"] }],
          details: [{ note: "first detail" }, { note: "naïve 任务 😀" }, { note: "" }],
        },
      };
      const { answers, header, error } = await listen(caller, kind, [order]);
      expect(answers).toEqual([]);
      expect(error).toMatchObject({ code: Code.FailedPrecondition, rawMessage: text });
      expect(error?.findDetails(DetailSchema).map(({ note }) => note)).toEqual([
        "first detail",
        "naïve 任务 😀",
        "",
      ]);
      expect(error?.metadata.get("x-drill-error")).toBe("of the error");
      // Headers and trailers of a call that fails before its first answer may be merged; none may be lost.
      const all = new Headers([...header, ...(error?.metadata ?? [])]);
      expect(all.get("x-drill-header")).toContain("of the answer");
      expect(all.get("x-drill-trailer") ?? all.get("trailer-x-drill-trailer")).toContain("at its end");
    },
  );

  test.each(kindsOf(caller))("%s: an empty text stays empty", async (kind) => {
    const { error } = await listen(caller, kind, [failing(Code.Aborted, "")]);
    expect(error).toMatchObject({ code: Code.Aborted, rawMessage: "" });
  });

  test("a client stream that fails after all orders, or in the midst of them, is told so", async () => {
    const late = await listen(caller, "collect", [failing(Code.DataLoss), { note: "b" }, { note: "c" }]);
    expect(late).toMatchObject({ answers: [], error: { code: Code.DataLoss } });
    const early = await listen(caller, "collect", [{ ...failing(Code.DataLoss), enough: 1 }, {}, {}]);
    expect(early).toMatchObject({ answers: [], error: { code: Code.DataLoss } });
  });

  if (caller.isDuplex)
    test("a bidirectional stream fails after its answers, or without any", async () => {
      const withAnswers = await listen(caller, "converse", [{ answers: 3, ...failing(Code.NotFound) }, {}]);
      expect(withAnswers.error?.code).toBe(Code.NotFound);
      expect(withAnswers.answers).toHaveLength(3);
      const inTurns = await listen(caller, "converse", [{ inTurns: true, ...failing(Code.NotFound) }, {}]);
      expect(inTurns.error?.code).toBe(Code.NotFound);
      expect(inTurns.answers).toHaveLength(2);
      const without = await listen(caller, "converse", [failing(Code.NotFound), {}]);
      expect(without).toMatchObject({ answers: [], error: { code: Code.NotFound } });
    });

  test.each(kindsOf(caller))(
    "%s: an error of the core comes with its code and when to try again",
    async (kind) => {
      const order: OrderInit = {
        failure: { kind: { case: "domain", value: "resource_exhausted" }, message: "the lane is full" },
      };
      const { error } = await listen(caller, kind, [order]);
      expect(error).toMatchObject({ code: Code.ResourceExhausted, rawMessage: "the lane is full" });
      expect(error?.findDetails(RetryInfoSchema)).toMatchObject([
        { retryDelay: { seconds: 1n, nanos: 500_000_000 } },
      ]);
    },
  );

  test.each(kindsOf(caller))("%s: of a bug the caller gets an id and no text", async (kind) => {
    const before = stack.bugs.length;
    const order: OrderInit = {
      failure: { kind: { case: "bug", value: true }, message: "the password is secret" },
    };
    const { error } = await listen(caller, kind, [order]);
    expect(error?.code).toBe(Code.Internal);
    expect(stack.bugs).toHaveLength(before + 1);
    expect(error?.rawMessage).toContain(stack.bugs.at(-1));
    expect(error?.rawMessage).not.toContain("secret");
  });

  test.each(["ask", "recite"] as const)(
    "%s: an invalid order is refused before the handler sees it",
    async (kind) => {
      const { error } = await listen(caller, kind, [{ call: "invalid", note: "x".repeat(101) }]);
      expect(error?.code).toBe(Code.InvalidArgument);
      expect(error?.rawMessage).toContain("note must have at most 100 bytes");
      expect(error?.details).toHaveLength(1);
      expect(() => stack.watched("invalid")).toThrow();
    },
  );

  test.each(kindsOf(caller))("%s: without a credential it is UNAUTHENTICATED", async (kind) => {
    const { answers, error } = await listen(caller, kind, [{ call: "unknown caller" }], anonymous);
    expect(answers).toEqual([]);
    expect(error?.code).toBe(Code.Unauthenticated);
    expect(error?.rawMessage).toContain("no credential");
    expect(() => stack.watched("unknown caller")).toThrow();
  });
});
