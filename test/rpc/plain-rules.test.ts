import { type DescMessage, fromBinary, type Message } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { describe, expect, test } from "vitest";
import { isSurelyValid } from "../../server/rpc/plain-rules.ts";
import { everyRpc } from "../api/every-rpc.ts";
import { toProto } from "../fuzz/encode-proto.ts";
import { grow } from "../fuzz/messages.ts";
import { Random, seeds } from "../support/random.ts";

const validator = createValidator();
const rounds = 300;

const [seed = 0] = seeds(1);

describe(`the plain checks of a request's rules (seed ${seed})`, async () => {
  const inputs = new Map((await everyRpc()).map(({ method: { input } }) => [input.typeName, input]));

  test.each([...inputs.values()].map((input) => [input.name, input] as const))(
    "%s: call valid only what the validator calls valid, and most of that",
    (_name, input) => {
      const random = new Random(seed);
      let [valid, sure] = [0, 0];
      for (let i = 0; i < rounds; i++) {
        const message = make(random, input, i % 3 === 0 ? 0 : 0.15);
        if (message === undefined) continue;
        const isValid = validator.validate(input, message).kind === "valid";
        const isSure = isSurelyValid(input, message);
        if (isSure && !isValid) expect.unreachable(JSON.stringify(message, bigints));
        if (isValid) valid++;
        if (isSure) sure++;
      }
      expect(sure).toBeGreaterThanOrEqual(valid * 0.9);
    },
  );
});

function make(random: Random, input: DescMessage, odd: number): Message | undefined {
  try {
    return fromBinary(
      input,
      toProto(random, grow(random, input, { odd, mostBytes: 2000 }, random.chance(0.5)), 0),
    );
  } catch {
    return undefined; // odd text that is no UTF-8: it never comes to be checked
  }
}

const bigints = (_key: string, value: unknown) => (typeof value === "bigint" ? String(value) : value);
