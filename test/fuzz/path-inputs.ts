/** Requests whose address is what is read: Server-Sent Events, Connect's GET, plain routes, and paths that are none. */
import type { Random } from "../support/random.ts";
import { oddCredential, oddHeaders } from "./header-inputs.ts";
import type { CallInput } from "./input.ts";
import { mutateBytes } from "./mutate-bytes.ts";
import * as places from "./places.ts";
import { rpcTargets } from "./targets.ts";

const segments = [
  "",
  "%",
  "%zz",
  "%00",
  "%ff",
  "%c0%80",
  "%ed%a0%80",
  "..",
  ".",
  "%2e%2e",
  "%2f",
  "a%2Fb",
  "%F0%9F%8E%88",
  "x".repeat(300),
  "\u00e9",
  "%C2%85",
  "+",
  ";",
  "consolidated",
  "tasks",
];
const offsets = [
  "0",
  "1",
  "-1",
  "+1",
  "1.0",
  "1e3",
  " 1",
  "9007199254740991",
  "9007199254740992",
  "99999999999999999999",
  "",
  "NaN",
  "0x1",
  "٣",
  "00000000000000001",
];
const flags = ["true", "false", "TRUE", "1", "", "true,true"];
const times = ["0", "1", "60000", "60001", "4294967295", "4294967296", "-1", "1.5", ""];
const types = [
  "TOKEN",
  "TOKEN,PROGRESS",
  "token",
  ",",
  "",
  "TOKEN,,TOKEN",
  "__proto__",
  "constructor",
  "TOKEN,".repeat(2000),
  "%00",
  "WORKFLOW_CREATED",
];

const parameters: Readonly<Record<string, readonly string[]>> = {
  after_offset: offsets,
  latest: flags,
  types,
  min_interval_ms: times,
  idle_timeout_ms: times,
  expected_epoch: offsets,
  access_token: ["", "x", "a.b.c", "%00", "eyJhbGciOiJub25lIn0.e30."],
  unknown: ["1"],
  "%": ["%"],
  "a[b]": ["c"],
};

const encoded = (text: string): string =>
  // What a request's first line cannot hold.
  text.replaceAll(/[^\x21-\xff]/g, (character) => encodeURIComponent(character.toWellFormed()));

export function sseInput(random: Random): CallInput {
  const workflow = random.chance(0.8)
    ? random.pick([
        ...places.open,
        ...places.open,
        ...places.ended,
        ...places.doomed,
        ...places.foreign,
        ...places.unknown,
      ])
    : random.pick(segments);
  const slug = random.chance(0.9) ? "acme" : random.pick([...segments, "globex", "ACME"]);
  const task = random.chance(0.7) ? encodeURIComponent(random.pick(places.tasks)) : random.pick(segments);
  const rest = random.pick([
    "",
    "/consolidated",
    `/tasks/${task}`,
    "/",
    "/consolidated/",
    `/${random.pick(segments)}`,
  ]);
  const query: string[] = [];
  while (random.chance(0.5)) {
    const name = random.pick(Object.keys(parameters));
    query.push(`${name}=${random.pick(parameters[name] ?? [""])}`);
  }
  const tokenInQuery = random.chance(0.15);
  const credential =
    tokenInQuery && random.chance(0.6)
      ? ({ of: "token" } as const)
      : random.chance(0.15)
        ? oddCredential(random)
        : ({ of: "acme" } as const);
  const path = encoded(
    `/api/tenants/${slug}/stream/workflows/${workflow}${rest}${query.length > 0 ? "?" : ""}${query.join("&")}`,
  );
  return {
    kind: "call",
    target: "SSE",
    note: "route",
    http: random.pick(["1.1", "2"] as const),
    verb: random.chance(0.95) ? "GET" : random.pick(["HEAD", "POST", "OPTIONS", "DELETE"]),
    path: random.chance(0.1) ? mutatePath(random, path) : path,
    headers: {
      accept: "text/event-stream",
      ...(random.chance(0.2)
        ? { "last-event-id": random.pick(offsets.filter((text) => /^[\x20-\x7e]*$/.test(text))) }
        : {}),
      ...(random.chance(0.1) ? oddHeaders(random) : {}),
    },
    credential,
    tokenInQuery,
    parts: [],
    finish: random.chance(0.1) ? "leave" : "end",
  };
}

function mutatePath(random: Random, path: string): string {
  const text = mutateBytes(random, Buffer.from(path, "latin1")).toString("latin1");
  return `/${encoded(text)}`.slice(0, 8000);
}

const plain = [
  "/healthz",
  "/readyz",
  "/metrics",
  "/",
  "/favicon.ico",
  "//x",
  "/%",
  "/api",
  "/api/tenants/acme",
  "*",
  "/healthz/",
  "/METRICS",
  "/healthz?a=%",
];

/** Routes, RPCs by GET, and what is neither. */
export function pathInput(random: Random): CallInput {
  const rpc = random.pick(rpcTargets);
  const query = `?connect=v1&encoding=${random.pick(["json", "proto", "x"])}&message=${random.pick(["%7B%7D", "{", "%", "e30", "%ff"])}&base64=${random.pick(["1", "0", "x"])}&compression=${random.pick(["", "gzip", "x"])}`;
  const path = random.pick([
    random.pick(plain),
    `${rpc.path}${query}`,
    `${rpc.path}${query}`,
    `${rpc.path}/`,
    `${rpc.path}x`,
    rpc.path.replace("/", "//"),
    rpc.path.toLowerCase(),
    rpc.path.replace("v1", "v2"),
  ]);
  return {
    kind: "call",
    target: "paths",
    note: "path",
    http: random.pick(["1.1", "2"] as const),
    verb: random.pick(["GET", "GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"]),
    path: random.chance(0.2) ? mutatePath(random, path) : path,
    headers: random.chance(0.5) ? oddHeaders(random) : {},
    credential: random.chance(0.5) ? { of: "acme" } : oddCredential(random),
    parts: [],
    finish: "end",
  };
}
