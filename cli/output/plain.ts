/**
 * Proto messages as JSON for programs: field names as in Connect's JSON, 64-bit fields as numbers (none is over 2^53-1),
 * enums without their prefix, every field that is not a message always there.
 */
import type { DescEnum, DescField, DescMessage, Message, MessageShape } from "@bufbuild/protobuf";
import { type Event, EventSchema } from "../../gen/tributary/v1/event_pb.ts";

export function toPlain<D extends DescMessage>(desc: D, message: MessageShape<D>): Record<string, unknown> {
  const plain: Record<string, unknown> = {};
  for (const field of desc.fields) {
    const value = fieldOf(field, message);
    if (value !== undefined) plain[field.jsonName] = convert(field, value);
  }
  return plain;
}

/** An event, with its payload under one name whatever it is: `payload`, or `payloadBase64` for bytes. */
export function toPlainEvent(event: Event): Record<string, unknown> {
  const { text, binary, ...rest } = toPlain(EventSchema, event);
  return { ...rest, ...(binary === undefined ? { payload: text ?? "" } : { payloadBase64: binary }) };
}

function fieldOf(field: DescField, message: Message): unknown {
  const values = message as unknown as Readonly<Record<string, unknown>>;
  if (field.oneof === undefined) return values[field.localName];
  const chosen = values[field.oneof.localName] as { case?: string; value?: unknown } | undefined;
  return chosen?.case === field.localName ? chosen.value : undefined;
}

function convert(field: DescField, value: unknown): unknown {
  switch (field.fieldKind) {
    case "list":
      return (value as unknown[]).map((item) => convertOne(field, item));
    case "map":
      return Object.fromEntries(
        Object.entries(value as object).map(([key, item]) => [key, convertOne(field, item)]),
      );
    default:
      return convertOne(field, value);
  }
}

function convertOne(
  field: { message?: DescMessage | undefined; enum?: DescEnum | undefined },
  value: unknown,
) {
  if (field.message !== undefined) return toPlain(field.message, value as Message);
  if (field.enum !== undefined) return nameOf(field.enum, value as number);
  if (typeof value === "bigint") return Number(value);
  return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value;
}

/** Of an enum's value, without the prefix: "RUNNING". */
export function nameOf(desc: DescEnum, value: number): string {
  return desc.value[value]?.localName ?? String(value);
}
