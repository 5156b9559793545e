/**
 * A receiver of traces on this machine: OTLP over HTTP with protobuf, as a collector takes it. Decodes of the spans what the tests
 * look at, by the field numbers of the protocol. It can refuse, or take requests and never answer.
 */
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

export interface ReceivedSpan {
  readonly service: string;
  readonly traceId: string;
  readonly spanId: string;
  /** "": it is the first of its trace. */
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: number;
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  /** 2: error. */
  readonly status: number;
}

export type Mood = "well" | "refuses" | "silent";

export class OtlpReceiver {
  readonly spans: ReceivedSpan[] = [];
  readonly requests: { readonly path: string; readonly headers: IncomingHttpHeaders }[] = [];
  /** Everything that came, for who looks for what must not be there. */
  readonly bodies: Buffer[] = [];
  mood: Mood = "well";
  readonly #server: Server;
  readonly #held = new Set<ServerResponse>();

  private constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        this.requests.push({ path: request.url ?? "", headers: request.headers });
        if (this.mood === "silent") {
          this.#held.add(response);
          return;
        }
        if (this.mood === "refuses") {
          response.writeHead(400).end();
          return;
        }
        const body = Buffer.concat(chunks);
        this.bodies.push(body);
        this.spans.push(...decode(body));
        response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
      });
    });
  }

  static async open(): Promise<OtlpReceiver> {
    const receiver = new OtlpReceiver();
    await new Promise<void>((resolve) => {
      receiver.#server.listen(0, "127.0.0.1", resolve);
    });
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  named(name: string): ReceivedSpan[] {
    return this.spans.filter((span) => span.name === name);
  }

  async close(): Promise<void> {
    for (const response of this.#held) response.destroy();
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }
}

type Fields = Map<number, unknown[]>;

/** Fields by number: bytes, or numbers. */
function fieldsOf(bytes: Uint8Array): Fields {
  const reader = new BinaryReader(bytes);
  const fields: Fields = new Map();
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const value =
      type === WireType.LengthDelimited
        ? reader.bytes()
        : type === WireType.Varint
          ? Number(reader.int64())
          : type === WireType.Bit64
            ? reader.double()
            : reader.fixed32();
    fields.set(number, [...(fields.get(number) ?? []), value]);
  }
  return fields;
}

const messages = (fields: Fields, number: number): Fields[] =>
  (fields.get(number) ?? []).map((value) => fieldsOf(value as Uint8Array));
const hex = (fields: Fields, number: number): string =>
  Buffer.from((fields.get(number)?.[0] as Uint8Array | undefined) ?? []).toString("hex");
const text = (fields: Fields, number: number): string =>
  Buffer.from((fields.get(number)?.[0] as Uint8Array | undefined) ?? []).toString("utf8");

function attributesOf(fields: Fields, number: number): Record<string, string | number | boolean> {
  return Object.fromEntries(
    messages(fields, number).map((attribute) => {
      const value = messages(attribute, 2)[0] ?? new Map();
      const number = value.get(3)?.[0] ?? value.get(4)?.[0];
      if (number !== undefined) return [text(attribute, 1), number as number];
      const truth = value.get(2)?.[0];
      return [text(attribute, 1), truth === undefined ? text(value, 1) : truth === 1];
    }),
  );
}

function decode(body: Uint8Array): ReceivedSpan[] {
  return messages(fieldsOf(body), 1).flatMap((ofResource) => {
    const resource = messages(ofResource, 1)[0] ?? new Map();
    const service = String(attributesOf(resource, 1)["service.name"]);
    return messages(ofResource, 2).flatMap((ofScope) =>
      messages(ofScope, 2).map((span) => ({
        service,
        traceId: hex(span, 1),
        spanId: hex(span, 2),
        parentSpanId: hex(span, 4),
        name: text(span, 5),
        kind: (span.get(6)?.[0] as number | undefined) ?? 0,
        attributes: attributesOf(span, 9),
        links: messages(span, 13).map((link) => ({ traceId: hex(link, 1), spanId: hex(link, 2) })),
        status: (messages(span, 15)[0]?.get(3)?.[0] as number | undefined) ?? 0,
      })),
    );
  });
}
