/** Headers that change how a request is read, and credentials that are none. What Node's client would refuse is in raw-inputs.ts. */
import type { Random } from "../support/random.ts";
import type { Credential } from "./input.ts";

const timeouts = ["1S", "0n", "5m", "1u", "99999999H", "999999999S", "-1S", "abc", "1", "1x", "1.5S", "10S"];
const timeoutsMs = ["1", "0", "5", "10000", "99999999999", "9999999999", "-1", "abc", "1.5", "1e3"];
const encodings = ["gzip", "br", "identity", "zstd", "x", "gzip;q=0", ",", "gzip,gzip,br,*"];
const contentTypes = [
  "application/json; charset=utf-8",
  "application/json;charset=latin1",
  "APPLICATION/JSON",
  "application/proto; x=y",
  "application/connect+proto; charset=utf-8",
  "application/connect+json",
  "application/grpc",
  "application/grpc; x",
  "application/grpc+xyz",
  "application/grpc-web",
  "application/grpc-web-text",
  "application/grpc-web+json;charset=utf-8",
  "text/plain",
  "multipart/form-data; boundary=x",
  ";",
  "application/",
];

const some: readonly ((random: Random) => Record<string, string>)[] = [
  (random) => ({ "grpc-timeout": random.pick(timeouts) }),
  (random) => ({ "connect-timeout-ms": random.pick(timeoutsMs) }),
  (random) => ({ "content-type": random.pick(contentTypes) }),
  (random) => ({ "grpc-encoding": random.pick(encodings) }),
  (random) => ({ "connect-content-encoding": random.pick(encodings) }),
  (random) => ({ "content-encoding": random.pick(encodings) }),
  (random) => ({ "grpc-accept-encoding": random.pick(encodings), "accept-encoding": random.pick(encodings) }),
  (random) => ({ "connect-accept-encoding": random.pick(encodings) }),
  (random) => ({ "connect-protocol-version": random.pick(["1", "2", "", "x", "1, 1"]) }),
  (random) => ({ "x-http-method-override": random.pick(["GET", "DELETE", "PUT"]) }),
  (random) => ({ "trace-bin": random.pick(["!!!", "AA", "AA==,AA", "%", "ÿ"]), "x-user-bin": "=" }),
  (random) => ({
    traceparent: random.pick([
      "00-0-0-0",
      "ff",
      `00-${"0".repeat(32)}-${"0".repeat(16)}-01`,
      "x".repeat(4000),
    ]),
  }),
  (random) => ({ origin: random.pick(["null", "http://evil.example", "http://[", "", "\u00ff"]) }),
  (random) => ({ "last-event-id": random.pick(["1", "-1", "x", "9".repeat(30)]) }),
  (random) => ({ "x-large": "y".repeat(random.pick([100, 4000, 12_000])) }),
  (random) => ({
    "access-control-request-method": "POST",
    "access-control-request-headers": random.pick(["x", ",,,", "x".repeat(3000)]),
  }),
  (random) => ({ "x-forwarded-for": random.pick(["::1", "1.2.3.4, x"]), forwarded: "for=unknown" }),
  () => ({ "grpc-message-type": "x", "user-agent": "grpc-fuzz/\u00e9" }),
];

export function oddHeaders(random: Random): Record<string, string> {
  const headers: Record<string, string> = {};
  for (let i = 1 + random.below(2); i > 0; i--) Object.assign(headers, random.pick(some)(random));
  return headers;
}

const inserted = [
  "",
  " ",
  ".",
  "..",
  "=",
  "A",
  "Bearer ",
  "eyJhbGciOiJub25lIn0",
  "'",
  "\u00e9",
  ", Bearer x",
  "a".repeat(5000),
];

export function oddCredential(random: Random): Credential {
  const of = random.pick([
    "acme",
    "stranger",
    "admin",
    "token",
    "token",
    "token",
    "readOnly",
    "none",
  ] as const);
  const change = {
    at: random.below(1000),
    remove: random.pick([0, 1, 5, 40, 1000]),
    insert: random.pick(inserted),
  };
  return random.chance(0.7) && of !== "none" ? { of, change } : { of };
}
