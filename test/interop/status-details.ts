/**
 * The trailer `grpc-status-details-bin`: a google.rpc.Status, of which only the details matter here. Read by hand, so that
 * nothing that the server itself uses has a say in what a client sees.
 */
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import type { Detail } from "./driver.ts";

/** google.rpc.Status: 1 code, 2 message, 3 repeated google.protobuf.Any. */
export function fromStatusDetails(bytes: Uint8Array): Detail[] {
  return fieldsOf(bytes)
    .filter(({ number }) => number === 3)
    .map(({ content }) => {
      const any = fieldsOf(content);
      const url = Buffer.from(any.find(({ number }) => number === 1)?.content ?? []).toString();
      return {
        type: url.slice(url.lastIndexOf("/") + 1),
        bytes: any.find(({ number }) => number === 2)?.content ?? new Uint8Array(),
      };
    });
}

/** The length-delimited fields of a message. */
function fieldsOf(bytes: Uint8Array): { number: number; content: Uint8Array }[] {
  const reader = new BinaryReader(bytes);
  const fields: { number: number; content: Uint8Array }[] = [];
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (type === WireType.LengthDelimited) fields.push({ number, content: reader.bytes() });
    else reader.skip(type, number);
  }
  return fields;
}
