/**
 * The binary encoding of updates of variables, made once for all watchers that get an update from the same window, and of
 * batches of them, which are the watcher's own and cost little more than copying. Equal to `toBinary` of the generated schema
 * (a test compares the two for random updates); nothing else is encoded here.
 *
 * By hand because it is done for every change: to make a message object of JSON, with a message for each value in it and a
 * bigint for each number, and to walk over that, takes twice as long.
 */
import { type DescMessage, toBinary, type UnknownField } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { ListValueSchema, StructSchema, ValueSchema } from "@bufbuild/protobuf/wkt";
import {
  VariableConstraintsSchema,
  VariableSchema,
  VariableUpdateBatchSchema,
  VariableUpdateSchema,
  WatchVariablesResponseSchema,
} from "../../gen/tributary/v1/variable_service_pb.ts";
import type { VariableUpdate } from "../core/variables/update.ts";
import type { Variable } from "../core/variables/variable.ts";
import { toConstraintsMessage, updateTypes } from "./variable-messages.ts";
import { delimited, Output, varintSize } from "./wire-output.ts";

/** Numbers come from the schema: only the kinds of the fields are assumed. */
function numberOf(schema: DescMessage, field: string): number {
  const found = schema.fields.find(({ name }) => name === field);
  if (found === undefined) throw new Error(`${schema.typeName} has no field ${field}`);
  return found.number;
}

const update = {
  updateType: numberOf(VariableUpdateSchema, "update_type"),
  variable: numberOf(VariableUpdateSchema, "variable"),
  oldValue: numberOf(VariableUpdateSchema, "old_value"),
  source: numberOf(VariableUpdateSchema, "source"),
  metadata: numberOf(VariableUpdateSchema, "metadata"),
  offset: numberOf(VariableUpdateSchema, "offset"),
  timestampMs: numberOf(VariableUpdateSchema, "timestamp_ms"),
  replaced: numberOf(VariableUpdateSchema, "replaced"),
};
const variable = {
  workflowId: numberOf(VariableSchema, "workflow_id"),
  name: numberOf(VariableSchema, "name"),
  type: numberOf(VariableSchema, "type"),
  value: numberOf(VariableSchema, "value"),
  constraints: numberOf(VariableSchema, "constraints"),
  metadata: numberOf(VariableSchema, "metadata"),
  version: numberOf(VariableSchema, "version"),
  source: numberOf(VariableSchema, "source"),
  offset: numberOf(VariableSchema, "offset"),
  createdMs: numberOf(VariableSchema, "created_ms"),
  updatedMs: numberOf(VariableSchema, "updated_ms"),
};
const value = {
  null: numberOf(ValueSchema, "null_value"),
  number: numberOf(ValueSchema, "number_value"),
  string: numberOf(ValueSchema, "string_value"),
  bool: numberOf(ValueSchema, "bool_value"),
  struct: numberOf(ValueSchema, "struct_value"),
  list: numberOf(ValueSchema, "list_value"),
};
const fields = numberOf(StructSchema, "fields");
const values = numberOf(ListValueSchema, "values");
/** Of an entry of a map. */
const entry = { key: 1, value: 2 };

const encoded = new WeakMap<VariableUpdate, Uint8Array>();

/** Not kept where it is much larger than the entry, as for a list of numbers: it lives as long as the entry does. */
export function encodeUpdate(of: VariableUpdate): Uint8Array {
  let bytes = encoded.get(of);
  if (bytes === undefined) {
    bytes = of.original === undefined ? encode(of) : encodeReplaced(encodeUpdate(of.original), of.replaced);
    if (bytes.length <= 2 * of.entryLength) encoded.set(of, bytes);
  }
  return bytes;
}

/** Tags: small enough for one byte. */
const replacedTag = (update.replaced << 3) | WireType.Varint;
const updatesField = numberOf(WatchVariablesResponseSchema, "updates");
const updateTag = (numberOf(VariableUpdateBatchSchema, "updates") << 3) | WireType.LengthDelimited;

/** The field `updates` of a WatchVariablesResponse, of encoded updates. */
export function joinUpdates(updates: readonly Uint8Array[]): UnknownField[] {
  let size = 0;
  for (const bytes of updates) size += delimited(bytes.byteLength);
  const out = new Output(varintSize(size) + size);
  out.varint(size);
  for (const bytes of updates) {
    out.header(updateTag, bytes.byteLength);
    out.raw(bytes);
  }
  return [{ no: updatesField, wireType: WireType.LengthDelimited, data: out.bytes }];
}

/** With the last of its fields, which the original has not. */
function encodeReplaced(original: Uint8Array, replaced: number): Uint8Array {
  const out = new Output(original.byteLength + 1 + varintSize(replaced));
  out.raw(original);
  out.header(replacedTag, replaced);
  return out.bytes;
}

function encode(of: VariableUpdate): Uint8Array {
  const out = new BinaryWriter();
  const { variable: about, oldValue } = of.content();
  writeNumber(out, update.updateType, updateTypes[of.kind]);
  out.tag(update.variable, WireType.LengthDelimited).fork();
  writeVariable(out, about);
  out.join();
  if (oldValue !== undefined) writeValue(out, update.oldValue, oldValue);
  writeText(out, update.source, about.source);
  writeMetadata(out, update.metadata, about.metadata);
  writeNumber(out, update.offset, of.offset);
  writeNumber(out, update.timestampMs, about.updatedMs);
  writeNumber(out, update.replaced, of.replaced);
  return out.finish();
}

function writeVariable(out: BinaryWriter, of: Variable): void {
  writeText(out, variable.workflowId, of.workflowId);
  writeText(out, variable.name, of.name);
  writeNumber(out, variable.type, of.type);
  writeValue(out, variable.value, of.value);
  if (of.constraints !== undefined) {
    const bytes = toBinary(VariableConstraintsSchema, toConstraintsMessage(of.constraints));
    out.tag(variable.constraints, WireType.LengthDelimited).bytes(bytes);
  }
  writeMetadata(out, variable.metadata, of.metadata);
  writeNumber(out, variable.version, of.version);
  writeText(out, variable.source, of.source);
  writeNumber(out, variable.offset, of.offset);
  writeNumber(out, variable.createdMs, of.createdMs);
  writeNumber(out, variable.updatedMs, of.updatedMs);
}

/** As JSON.parse gives it. */
function writeValue(out: BinaryWriter, no: number, of: unknown): void {
  out.tag(no, WireType.LengthDelimited).fork();
  if (of === null) out.tag(value.null, WireType.Varint).int32(0);
  else if (typeof of === "number") out.tag(value.number, WireType.Bit64).double(of);
  else if (typeof of === "string") out.tag(value.string, WireType.LengthDelimited).string(of);
  else if (typeof of === "boolean") out.tag(value.bool, WireType.Varint).bool(of);
  else if (Array.isArray(of)) {
    out.tag(value.list, WireType.LengthDelimited).fork();
    for (const item of of) writeValue(out, values, item);
    out.join();
  } else {
    out.tag(value.struct, WireType.LengthDelimited).fork();
    for (const [key, item] of Object.entries(of as object)) {
      out.tag(fields, WireType.LengthDelimited).fork();
      out.tag(entry.key, WireType.LengthDelimited).string(key);
      writeValue(out, entry.value, item);
      out.join();
    }
    out.join();
  }
  out.join();
}

function writeMetadata(out: BinaryWriter, no: number, of: Readonly<Record<string, string>>): void {
  for (const [key, text] of Object.entries(of)) {
    out.tag(no, WireType.LengthDelimited).fork();
    out.tag(entry.key, WireType.LengthDelimited).string(key);
    out.tag(entry.value, WireType.LengthDelimited).string(text);
    out.join();
  }
}

/** Empty text and 0 are not written (proto3). */
function writeText(out: BinaryWriter, no: number, text: string): void {
  if (text !== "") out.tag(no, WireType.LengthDelimited).string(text);
}

function writeNumber(out: BinaryWriter, no: number, number: number): void {
  if (number === 0) return;
  out.tag(no, WireType.Varint);
  if (number <= 0xffffffff) out.uint32(number);
  else out.uint64(number);
}
