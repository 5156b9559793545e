/** What an instance knows of the signing keys, and how often it asks. */
import { SignJWT } from "jose";
import { describe, expect, test } from "vitest";
import type { SigningKey } from "../../server/auth/credential-store.ts";
import { SigningKeys, startSigningKeyCleaning } from "../../server/auth/signing-keys.ts";
import { StreamTokens } from "../../server/auth/stream-token.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";

const key = (signingKeyId: string): SigningKey => ({ signingKeyId, secret: Buffer.alloc(32, signingKeyId) });
const one = key("1".repeat(16));
const two = key("2".repeat(16));

function setUp() {
  const clock = new ManualClock();
  const table: SigningKey[] = [one];
  let failing: Error | undefined;
  let reads = 0;
  const store = {
    async signingKeys() {
      reads += 1;
      if (failing !== undefined) throw failing;
      return [...table];
    },
    async deleteReplacedSigningKeys() {},
  };
  return {
    clock,
    table,
    keys: new SigningKeys({ store, clock }),
    reads: () => reads,
    fail: (error: Error | undefined) => {
      failing = error;
    },
  };
}

test("a key that another instance made is found at once", async () => {
  const { keys, table, clock } = setUp();
  expect(await keys.find(one.signingKeyId)).toEqual(one);
  await clock.advance(1000);
  table.unshift(two);
  expect(await keys.find(two.signingKeyId)).toEqual(two);
});

test("forged key ids cost four reads a second however many there are, and a new key among them is found", async () => {
  const { keys, table, clock, reads } = setUp();
  await keys.newest();
  let found: SigningKey | undefined;
  let forged = 0;
  for (let round = 0; round < 40; round++) {
    for (let i = 0; i < 25; i++) void keys.find(`f${round}-${i}`).then(() => forged++);
    if (round === 20) {
      table.unshift(two);
      void keys.find(two.signingKeyId).then((key) => {
        found = key;
      });
    }
    await clock.advance(50);
    if (round === 25) expect(found).toEqual(two); // 250 ms later at the most
  }
  expect(reads()).toBeLessThanOrEqual(1 + 2 * 4 + 1);
  expect(forged).toBeGreaterThan(39 * 20);
});

test("while forged ids are looked for, known keys are answered without a wait", async () => {
  const { keys } = setUp();
  await keys.newest();
  void keys.find("f".repeat(16));
  await settled();
  expect(await keys.find(one.signingKeyId)).toEqual(one); // the clock stands still
});

test("a deleted key is believed for 5 s at most", async () => {
  const { keys, table, clock } = setUp();
  await keys.newest();
  table[0] = two;
  await clock.advance(4999);
  expect(await keys.find(one.signingKeyId)).toEqual(one);
  await clock.advance(1);
  const gone = keys.find(one.signingKeyId);
  await settled();
  await clock.advance(250);
  expect(await gone).toBeUndefined();
});

test("a read that fails fails who asked, and the next one is tried", async () => {
  const { keys, clock, fail } = setUp();
  fail(new Error("away"));
  await expect(keys.newest()).rejects.toThrow("away");
  fail(undefined);
  const again = keys.newest();
  await settled();
  await clock.advance(250);
  expect(await again).toEqual(one);
});

test("cleaning goes on each minute, also after a failure, until it is stopped", async () => {
  const clock = new ManualClock();
  const asked: number[] = [];
  const failures: string[] = [];
  const store = {
    signingKeys: async () => [],
    async deleteReplacedSigningKeys(ms: number) {
      asked.push(ms);
      if (asked.length === 1) throw new Error("away");
    },
  };
  const stop = startSigningKeyCleaning({ store, clock }, (message) => failures.push(message));
  await settled();
  await clock.advance(60_000);
  await settled();
  expect([asked, failures.length]).toEqual([[3_660_000, 3_660_000], 1]);
  stop();
  await clock.advance(120_000);
  await settled();
  expect(asked).toHaveLength(2);
});

describe("a token is refused though the right key signed it", () => {
  const nowMs = 1_800_000_000_000;
  const now = nowMs / 1000;
  const claims = { wfs: ["w"], vars: false, sub: "acme", iss: "tributary", iat: now, exp: now + 60 };
  const sign = (changed: object, header: object = {}, secret = one.secret) =>
    new SignJWT({ ...claims, ...changed })
      .setProtectedHeader({ alg: "HS256", typ: "JWT", kid: one.signingKeyId, ...header })
      .sign(secret);
  const verify = async (token: Promise<string>) => {
    const tokens = new StreamTokens({ newest: async () => one, find: async () => one });
    return tokens.verify(await token, nowMs);
  };

  test.each<[string, object, object?]>([
    ["of a life longer than an hour", { exp: now + 3602 }],
    ["made far in the future", { iat: now + 61, exp: now + 62 }],
    ["without a time of making", { iat: undefined }],
    ["without an expiry", { exp: undefined }],
    ["of another issuer", { iss: "other" }],
    ["without a tenant", { sub: undefined }],
    ["with an empty tenant", { sub: "" }],
    ["with no workflow", { wfs: [] }],
    ["with workflows of a wrong form", { wfs: "w" }],
    ["with variables of a wrong form", { vars: "true" }],
    ["with another type", {}, { typ: "at+jwt" }],
    ["with another algorithm of the same family", {}, { alg: "HS512" }],
  ])("%s", async (_name, changed, header) => {
    expect(await verify(sign({}))).toMatchObject({ tenant: "acme", signingKeyId: one.signingKeyId });
    expect(await verify(sign(changed, header))).toBeUndefined();
  });

  test("one of another key, whatever it says of itself", async () => {
    expect(await verify(sign({}, {}, two.secret))).toBeUndefined();
  });
});
