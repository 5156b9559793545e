/** Which bus is chosen by which setting, and which values of it are refused, by name and without secrets. */
import { expect, test } from "vitest";
import { BadSetting, readConfig } from "../../server/config.ts";

test("NATS_URL chooses NATS: one server or several of one cluster; without it the bus is in memory", () => {
  expect(readConfig({}).NATS_URL).toBeUndefined();
  expect(readConfig({ NATS_URL: "" }).NATS_URL).toBeUndefined();
  expect(readConfig({}).NATS_PREFIX).toBe("tributary");
  const urls = ["nats://one", "nats://user:p%40ss@two:4223", "tls://token@[::1]:4222/"];
  expect(readConfig({ NATS_URL: urls.join(" , ") }).NATS_URL).toEqual(urls);
});

test.each([
  "localhost:4222",
  "http://nats:4222",
  "nats://",
  "nats://s3cret@one:4222,ws://two",
  "nats://s3cret@one/path",
  "nats://s3cret@one:4222?tls=true",
  "nats://s3cret@one:99999",
  ",",
  "nats://user:100%@one",
])("NATS_URL %s is refused, and not repeated", (value) => {
  expect(() => readConfig({ NATS_URL: value })).toThrow(BadSetting);
  expect(() => readConfig({ NATS_URL: value })).toThrow(
    `NATS_URL: must be nats://user:password@host:port (or tls://…, or nats://token@…; percent-encoded), several of one cluster with commas; found ${value.length} characters`,
  );
});

test.each(["a b", "a.", ".a", "a.*", ">", "ä", "x".repeat(101)])("NATS_PREFIX %s is refused", (value) => {
  expect(() => readConfig({ NATS_PREFIX: value })).toThrow(/^NATS_PREFIX: must be words/);
});
