/**
 * The drill service's descriptors, compiled from `drill.proto` by buf when a test file starts: there is no generated file
 * to keep in step. The types are written out by hand; the JSON and binary codecs read the descriptors, not them.
 */
import { execFileSync } from "node:child_process";
import { createFileRegistry, fromBinary, type Message } from "@bufbuild/protobuf";
import type { GenMessage, GenService } from "@bufbuild/protobuf/codegenv2";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

export type Field = Message<"tributary.conformance.v1.Field"> & { name: string; values: string[] };
export type Detail = Message<"tributary.conformance.v1.Detail"> & { note: string };

export type Failure = Message<"tributary.conformance.v1.Failure"> & {
  kind:
    | { case: "status"; value: number }
    | { case: "domain"; value: string }
    | { case: "bug"; value: boolean }
    | { case: undefined; value?: undefined };
  message: string;
  metadata: Field[];
  details: Detail[];
};

export const Silence = { NONE: 0, BEFORE_ANSWERS: 1, AFTER_ANSWERS: 2 } as const;

export type Order = Message<"tributary.conformance.v1.Order"> & {
  call: string;
  note: string;
  filler: Uint8Array;
  headers: Field[];
  trailers: Field[];
  answers: number;
  answerBytes: number;
  inTurns: boolean;
  enough: number;
  silence: number;
  failure?: Failure;
};

export type Answer = Message<"tributary.conformance.v1.Answer"> & {
  number: number;
  notes: string[];
  bytes: number;
  filler: Uint8Array;
  headers: Record<string, string>;
  timeoutMs?: number;
  protocol: string;
  httpMethod: string;
};

type Method<Kind> = { methodKind: Kind; input: GenMessage<Order>; output: GenMessage<Answer> };

/** The API's module is here for buf/validate, which the drill uses as the API does. */
const workspace = { version: "v2", modules: [{ path: "proto" }, { path: "test/conformance" }] };
const image = execFileSync(
  "node_modules/.bin/buf",
  ["build", "test/conformance", "--config", JSON.stringify(workspace), "--output", "-"],
  { maxBuffer: 16 * 1024 * 1024 },
);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, image));
const message = (name: string) => registry.getMessage(`tributary.conformance.v1.${name}`);

export const OrderSchema = message("Order") as GenMessage<Order>;
export const AnswerSchema = message("Answer") as GenMessage<Answer>;
export const DetailSchema = message("Detail") as GenMessage<Detail>;

export const DrillService = registry.getService("tributary.conformance.v1.DrillService") as GenService<{
  ask: Method<"unary">;
  look: Method<"unary">;
  missing: Method<"unary">;
  collect: Method<"client_streaming">;
  recite: Method<"server_streaming">;
  converse: Method<"bidi_streaming">;
}>;
