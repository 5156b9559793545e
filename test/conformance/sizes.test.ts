/**
 * Sizes of messages: none, one MiB, the limit exactly, one byte more, in both directions. The limit counts what a message
 * unpacks to. A message over it ends its call with RESOURCE_EXHAUSTED and nothing else.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { limits } from "../../server/core/limits.ts";
import { kindsOf, listen, type OrderInit } from "./calls.ts";
import { createCaller, sample } from "./combinations.ts";
import { OrderSchema } from "./schema.ts";
import { useStack } from "./stack.ts";

const stack = useStack();
const mib = 1024 * 1024;

/** An order that encodes to so many bytes. */
function sized(bytes: number, order: OrderInit = {}): OrderInit {
  const sizeOf = (length: number) => {
    const filler = new Uint8Array(length);
    return {
      ...order,
      filler,
      size: toBinary(OrderSchema, create(OrderSchema, { ...order, filler })).length,
    };
  };
  const { size, ...padded } = sizeOf(bytes - (sizeOf(bytes).size - bytes));
  expect(size).toBe(bytes);
  return padded;
}

describe.each(sample)("$name", (combination) => {
  const caller = createCaller(stack, combination);
  const streams = kindsOf(caller).filter((kind) => kind === "collect" || kind === "converse");

  test.each(kindsOf(caller))("%s: a message of no bytes is a message", async (kind) => {
    const { answers, error } = await listen(caller, kind, [{}]);
    expect(error).toBeUndefined();
    // Streams answer as often as they are told: never.
    expect(answers).toHaveLength(kind === "ask" || kind === "collect" ? 1 : 0);
  });

  test.each(streams)("%s: messages of no bytes are counted", async (kind) => {
    const { answers } = await listen(caller, kind, [{ answers: 1 }, {}, {}, {}]);
    expect(answers).toMatchObject([{ notes: ["", "", "", ""] }]);
  });

  test.each(kindsOf(caller))("%s: 1 MiB goes there and comes back", async (kind) => {
    const order = { filler: new Uint8Array(mib).fill(65), answers: 1, answerBytes: mib };
    const { answers, error } = await listen(caller, kind, [order]);
    expect(error).toBeUndefined();
    expect(answers[0]?.bytes).toBe(mib);
    expect(answers[0]?.filler.length).toBe(mib);
    expect(answers[0]?.filler.every((byte) => byte === 7)).toBe(true);
  });

  test("a thousand answers of a server stream all come", async () => {
    const { answers } = await listen(caller, "recite", [{ answers: 1000, answerBytes: 100 }]);
    expect(answers.map(({ number }) => number)).toEqual(
      Array.from({ length: 1000 }, (_, index) => index + 1),
    );
  });

  // In JSON the limit is met by other sizes.
  if (combination.codec === "json") return;

  // After an early answer Node's client keeps what it could not send, until its memory for the connection is used up
  // (connections.test.ts): here each call has a connection of its own.
  const fresh = () => createCaller(stack, combination);

  test.each(kindsOf(caller))("%s: a message of exactly the limit is taken", async (kind) => {
    const orders = [sized(limits.messageBytesIn, { answers: 1 }), sized(limits.messageBytesIn)];
    const { answers, error } = await listen(caller, kind, orders);
    expect(error).toBeUndefined();
    expect(answers).toHaveLength(1);
  });

  test.each(kindsOf(caller))("%s: a first message beyond the limit is RESOURCE_EXHAUSTED", async (kind) => {
    const { answers, error } = await listen(fresh(), kind, [
      sized(limits.messageBytesIn + 1, { answers: 1 }),
      {},
    ]);
    expect(answers).toEqual([]);
    expect(error?.code).toBe(Code.ResourceExhausted);
  });

  test.each(streams)("%s: a later message beyond the limit is RESOURCE_EXHAUSTED", async (kind) => {
    const orders = [{ answers: 1, inTurns: kind === "converse" }, {}, sized(limits.messageBytesIn + 1)];
    const { answers, error } = await listen(fresh(), kind, orders);
    expect(answers).toHaveLength(kind === "converse" ? 2 : 0);
    expect(error?.code).toBe(Code.ResourceExhausted);
  });

  test.each(kindsOf(caller))(
    "%s: an answer beyond the limit is RESOURCE_EXHAUSTED, not cut off",
    async (kind) => {
      const { answers, error } = await listen(fresh(), kind, [
        { answers: 1, answerBytes: limits.messageBytesIn },
      ]);
      expect(answers).toEqual([]);
      expect(error?.code).toBe(Code.ResourceExhausted);
    },
  );
});
