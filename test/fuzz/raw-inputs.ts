/** Bytes that no HTTP client would send: requests that two servers would read differently, and HTTP/2 frames gone wrong. */
import type { Random } from "../support/random.ts";
import type { RawInput } from "./input.ts";
import { cutUp, mutateBytes } from "./mutate-bytes.ts";
import { rpcTargets } from "./targets.ts";

const smuggled = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
const head = (...lines: string[]) =>
  `${["POST /tributary.v1.WorkflowService/GetWorkflow HTTP/1.1", "host: localhost", "content-type: application/json", ...lines].join("\r\n")}\r\n\r\n`;

/** Each is one request to whoever reads it strictly, and two to others. */
const disputed: readonly string[] = [
  head("content-length: 0", `content-length: ${smuggled.length}`) + smuggled,
  head(`content-length: ${smuggled.length}, 0`) + smuggled,
  `${head("transfer-encoding: chunked", `content-length: ${smuggled.length + 5}`)}0\r\n\r\n${smuggled}`,
  `${head("content-length: 5", "transfer-encoding: chunked")}0\r\n\r\n${smuggled}`,
  `${head("transfer-encoding: xchunked")}0\r\n\r\n${smuggled}`,
  `${head("transfer-encoding: chunked", "transfer-encoding: identity")}0\r\n\r\n${smuggled}`,
  `${head("transfer-encoding : chunked")}0\r\n\r\n${smuggled}`,
  `${head("transfer-encoding: chunked\r\n identity")}0\r\n\r\n${smuggled}`,
  `${head("content-length: +4")}null${smuggled}`,
  `${head("content-length: 0x4")}null${smuggled}`,
  head("content-length: -1") + smuggled,
  head("content-length: 99999999999999999999") + smuggled,
  `${head("transfer-encoding: chunked")}-1\r\n\r\n${smuggled}`,
  `${head("transfer-encoding: chunked")}fffffffffffffffff\r\n\r\n${smuggled}`,
  `${head("transfer-encoding: chunked")}4;${"x".repeat(20_000)}\r\nnull\r\n0\r\n\r\n${smuggled}`,
  `${head("transfer-encoding: chunked")}4\nnull\n0\n\n${smuggled}`,
  head("content-length: 0", "x: a\rb") + smuggled,
  head("content-length: 0", "x\0y: a") + smuggled,
];

const strange: readonly string[] = [
  "GET / HTTP/9.9\r\n\r\n",
  "GET /healthz HTTP/1.0\r\n\r\n",
  "GET /healthz\r\n\r\n",
  "GET http://other/healthz HTTP/1.1\r\nhost: x\r\n\r\n",
  "GET /healthz HTTP/1.1\r\n\r\n",
  "GET /healthz HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
  "CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n",
  "GET /healthz HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABk\r\n\r\n",
  "GET /healthz HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
  "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\nGET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
  "\r\n\r\n\r\nGET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
  "POST /healthz HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\nabc",
  "POST /healthz HTTP/1.1\r\nhost: x\r\nexpect: nonsense\r\ncontent-length: 3\r\n\r\nabc",
  `GET /${"a".repeat(20_000)} HTTP/1.1\r\nhost: x\r\n\r\n`,
  `GET / HTTP/1.1\r\n${"x: y\r\n".repeat(3000)}\r\n`,
  "PRI * HTTP/1.1\r\nhost: x\r\n\r\n",
  "PRX / HTTP/1.1\r\nhost: x\r\n\r\n",
  "P",
  "PR",
  "\x16\x03\x01\x02\x00\x01\x00",
  "\0".repeat(100),
  "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".repeat(20),
];
const proxyHeader = Buffer.concat([
  Buffer.from("0d0a0d0a000d0a515549540a2111000c7f0000017f00000100010002", "hex"),
  Buffer.from(smuggled),
]);

export function http1Input(random: Random): RawInput {
  if (random.chance(0.35)) {
    const bytes = Buffer.from(random.pick(disputed), "latin1");
    return { kind: "raw", target: "HTTP/1.1 bytes", note: "disputed length", parts: [bytes], mostAnswers: 1 };
  }
  const bytes = random.chance(0.05)
    ? proxyHeader
    : Buffer.from(random.pick([...strange, ...disputed]), "latin1");
  const changed = random.chance(0.7) ? mutateBytes(random, bytes) : bytes;
  return {
    kind: "raw",
    target: "HTTP/1.1 bytes",
    note: "strange",
    parts: random.chance(0.4) ? cutUp(random, [changed]) : [changed],
  };
}

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

function frame(type: number, flags: number, stream: number, payload: Uint8Array = new Uint8Array()): Buffer {
  const bytes = Buffer.alloc(9);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream >>> 0, 5);
  return Buffer.concat([bytes, payload]);
}

/** HPACK without an index and without Huffman: name and value as they are. */
const literal = (name: string, value: string): Buffer => {
  const text = (part: string) =>
    Buffer.concat([
      Buffer.from([Math.min(Buffer.byteLength(part), 126)]),
      Buffer.from(part).subarray(0, 126),
    ]);
  return Buffer.concat([Buffer.from([0]), text(name), text(value)]);
};

function headers(random: Random): Buffer {
  const fields: [string, string][] = [
    [":method", random.pick(["POST", "GET", "CONNECT", ""])],
    [":scheme", "http"],
    [":path", random.pick([random.pick(rpcTargets).path, "/healthz", "", "*", "x"])],
    [":authority", "localhost"],
    ["content-type", "application/grpc"],
  ];
  const oddities: [string, string][] = [
    ["UPPER", "x"],
    ["connection", "close"],
    ["transfer-encoding", "chunked"],
    [":path", "/2"],
    ["te", "gzip"],
    ["content-length", "7"],
    ["a b", "c"],
    ["cookie", "\r\nx: y"],
    [":status", "200"],
  ];
  if (random.chance(0.5)) fields.splice(random.below(6), random.below(2), random.pick(oddities));
  return Buffer.concat(fields.map(([name, value]) => literal(name, value)));
}

export function http2Input(random: Random): RawInput {
  const frames = [frame(4, 0, 0)];
  for (let i = 1 + random.below(5); i > 0; i--) {
    const stream = random.pick([1, 3, 5, 1, 0, 2, 2 ** 31 - 1]);
    frames.push(
      random.pick([
        () => frame(1, random.pick([4, 5, 0, 0x2d]), stream, headers(random)),
        () => frame(1, 5, stream, headers(random)),
        () => frame(0, random.pick([0, 1, 8]), stream, Buffer.from([0, 0, 0, 0, random.below(9)])),
        () => frame(3, 0, stream, Buffer.alloc(4)),
        () => frame(4, random.pick([0, 1]), 0, Buffer.from([0, random.below(8), 255, 255, 255, 255])),
        () => frame(6, 0, 0, Buffer.alloc(8)),
        () => frame(8, 0, stream, Buffer.from([random.below(256), 255, 255, 255])),
        () => frame(9, random.pick([0, 4]), stream, headers(random)),
        () => frame(7, 0, 0, Buffer.alloc(8)),
        () =>
          frame(
            random.below(256),
            random.below(256),
            stream,
            Buffer.alloc(random.below(40), random.below(256)),
          ),
        () => frame(2, 0, stream, Buffer.from([0, 0, 0, 1, 0])),
        () => frame(5, 4, stream, headers(random)),
      ])(),
    );
  }
  const bytes = Buffer.concat(frames);
  const changed = Buffer.concat([
    random.chance(0.95) ? preface : mutateBytes(random, preface),
    random.chance(0.6) ? mutateBytes(random, bytes) : bytes,
  ]);
  return {
    kind: "raw",
    target: "HTTP/2 bytes",
    note: "frames",
    parts: random.chance(0.3) ? cutUp(random, [changed]) : [changed],
  };
}
