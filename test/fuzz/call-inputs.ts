/** Calls of RPCs: from a sensible request to one that is wrong in its fields, encoding, bytes, envelopes, headers or its end. */
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import type { Random } from "../support/random.ts";
import { toJsonText } from "./encode-json.ts";
import { toProto } from "./encode-proto.ts";
import { oddCredential, oddHeaders } from "./header-inputs.ts";
import type { CallInput, Credential } from "./input.ts";
import { grow, type Wildness } from "./messages.ts";
import { cutUp, envelope, mutateBytes, mutateEnvelopes } from "./mutate-bytes.ts";
import { contentTypeOf, isEnveloped, type RpcTarget, takesOne, type Wire } from "./targets.ts";

const adminsOwn = new Set(["CreateTenant", "UpdateTenant", "ListTenants", "RotateSigningKey"]);
const adminsToo = new Set(["CreateApiKey", "ListApiKeys", "ListSessions", "GetStats", "StreamSystemEvents"]);

function credentialFor(random: Random, { method }: RpcTarget): Credential {
  if (adminsOwn.has(method.name)) return { of: "admin" };
  if (adminsToo.has(method.name) && random.chance(0.4)) return { of: "admin" };
  return { of: "acme" };
}

/** A request as a client would send it. */
export function soundCall(random: Random, target: RpcTarget, wire: Wire): CallInput {
  const messages = encode(random, target, wire, { odd: 0, mostBytes: 0 }, 0);
  return {
    ...frame(target, wire, messages),
    credential: credentialFor(random, target),
    note: "sound",
  };
}

export function callInput(random: Random, target: RpcTarget, wire: Wire): CallInput {
  const most = random.chance(0.02) ? 1_200_000 : random.chance(0.1) ? 70_000 : 400;
  const wild = { odd: random.pick([0, 0, 0.05, 0.2, 0.6]), mostBytes: most };
  const rate = random.pick([0, 0, 0, 0.1, 0.3]);
  const messages = encode(random, target, wire, wild, rate);
  let input: CallInput = {
    ...frame(target, wire, messages),
    credential: random.chance(0.04) ? oddCredential(random) : credentialFor(random, target),
    note: `fields ${wild.odd} encoding ${rate}`,
  };
  const also = (what: string, changed: Partial<CallInput>) => {
    input = { ...input, ...changed, note: `${input.note}, ${what}` };
  };
  if (isEnveloped(target.method, wire) && random.chance(0.25)) {
    also("envelopes", { parts: mutateEnvelopes(random, messages) });
  }
  if (random.chance(0.2)) also("bytes", { parts: [mutateBytes(random, Buffer.concat(input.parts))] });
  if (random.chance(0.08)) also("compression", compressed(random, target, wire, messages));
  if (random.chance(0.15)) also("pieces", { parts: cutUp(random, input.parts) });
  if (random.chance(0.15)) also("headers", { headers: { ...input.headers, ...oddHeaders(random) } });
  if (random.chance(0.02)) also("other HTTP", { http: input.http === "2" ? "1.1" : "2" });
  if (random.chance(0.1)) also("breaks off", brokenOff(random, input.parts));
  return input;
}

function encode(
  random: Random,
  { method }: RpcTarget,
  { codec }: Wire,
  wild: Wildness,
  rate: number,
): Buffer[] {
  const count = takesOne(method) ? 1 : random.pick([1, 1, 2, 3, 6]);
  return Array.from({ length: count }, (_, i) => {
    const tree = grow(random, method.input, wild, i === 0);
    return codec === "proto" ? toProto(random, tree, rate) : Buffer.from(toJsonText(random, tree, rate));
  });
}

function frame(
  target: RpcTarget,
  wire: Wire,
  messages: readonly Buffer[],
): Omit<CallInput, "credential" | "note"> {
  return {
    kind: "call",
    target: target.name,
    http: wire.http,
    verb: "POST",
    path: target.path,
    headers: {
      "content-type": contentTypeOf(target.method, wire),
      ...(wire.protocol === "connect" ? { "connect-protocol-version": "1" } : {}),
      ...(wire.protocol === "grpc" ? { te: "trailers" } : {}),
    },
    parts: isEnveloped(target.method, wire) ? messages.map((message) => envelope(message)) : messages,
    finish: "end",
  };
}

/** Compressed, said to be, or neither of what it says. */
function compressed(
  random: Random,
  { method }: RpcTarget,
  wire: Wire,
  messages: readonly Buffer[],
): Partial<CallInput> {
  const name =
    wire.protocol !== "connect"
      ? "grpc-encoding"
      : isEnveloped(method, wire)
        ? "connect-content-encoding"
        : "content-encoding";
  const pack = random.pick([
    gzipSync,
    brotliCompressSync,
    deflateSync,
    (bytes: Buffer) => bytes,
    (bytes: Buffer) => mutateBytes(random, gzipSync(bytes)),
    (bytes: Buffer) => gzipSync(gzipSync(bytes)),
    () => gzipSync(Buffer.alloc(random.pick([1000, 5 * 1024 * 1024]))),
    (bytes: Buffer) => Buffer.concat([gzipSync(bytes), gzipSync(bytes)]),
  ]);
  const parts = messages.map((message) => {
    const packed = pack(message);
    return isEnveloped(method, wire) ? envelope(packed, random.pick([0, 1, 1, 1])) : packed;
  });
  const headers = {
    ...frame(target(method), wire, []).headers,
    [name]: random.pick(["gzip", "gzip", "br", "identity", "zstd", "GZIP", "gzip, br"]),
  };
  return { parts, headers };
}

const target = (method: RpcTarget["method"]): RpcTarget => ({ name: "", path: "", method });

function brokenOff(random: Random, parts: readonly Buffer[]): Partial<CallInput> {
  const bytes = Buffer.concat(parts);
  const at = random.below(bytes.length + 1);
  const cut = random.pick([[], [bytes.subarray(0, at)], [bytes.subarray(0, Math.min(at, 5))], [bytes]]);
  return { parts: cut, finish: random.pick(["hold", "leave", "leave"] as const) };
}
