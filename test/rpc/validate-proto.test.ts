/** Our copy of protovalidate's schema is a part of the one that the validator brings along. */
import type { DescField, DescFile } from "@bufbuild/protobuf";
import { file_buf_validate_validate as theirs } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { expect, test } from "vitest";
import { file_buf_validate_validate as ours } from "../../gen/buf/validate/validate_pb.ts";

const fieldLine = (field: DescField) =>
  [
    field.parent.typeName,
    field.name,
    field.number,
    field.proto.label,
    field.proto.type,
    field.proto.typeName,
    field.oneof?.name,
  ].join(" ");

/** One line for each thing that names or numbers are given to. */
function linesOf(file: DescFile): string[] {
  return [
    `${file.proto.name} ${file.proto.package} ${file.edition}`,
    ...file.messages.flatMap((message) => message.fields.map(fieldLine)),
    ...file.enums.flatMap((each) =>
      each.values.map(({ name, number }) => `${each.typeName} ${name} ${number}`),
    ),
    ...file.extensions.map(
      ({ typeName, number, extendee, message }) =>
        `${typeName} ${number} ${extendee.typeName} ${message?.typeName}`,
    ),
  ];
}

test("every name and number in proto/buf/validate is that of the original", () => {
  const original = new Set(linesOf(theirs));
  expect(linesOf(ours).filter((line) => !original.has(line))).toEqual([]);
  expect(linesOf(ours).length).toBeGreaterThan(40);
});
