/** The tags of the wire format, for what is encoded and decoded by hand: numbers come from the schema, only the kinds of the fields are assumed. */
import type { DescMessage } from "@bufbuild/protobuf";

export const lengthDelimited = 2;
export const varint = 0;

export function tagOf(schema: DescMessage, field: string, wireType: number): number {
  const found = schema.fields.find(({ name }) => name === field);
  if (found === undefined || found.number > 15)
    throw new Error(`${schema.typeName}.${field}: no one-byte tag`);
  return (found.number << 3) | wireType;
}
