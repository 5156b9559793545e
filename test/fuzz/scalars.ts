/** Values of single fields: what a caller would send, by the field's name, and what one should not. */
import type { DescField } from "@bufbuild/protobuf";
import { ScalarType } from "@bufbuild/protobuf";
import type { Random } from "../support/random.ts";
import * as places from "./places.ts";

/** Bytes in a string's place: UTF-8 that is none. In JSON they become what they can. */
export type Scalar = string | number | bigint | boolean | Uint8Array;

const destructive = new Set(["CloseWorkflowRequest", "DeleteWorkflowTreeRequest", "CreateWorkflowRequest"]);

export function sensible(random: Random, field: DescField): Scalar {
  const parent = field.parent.name;
  switch (field.name) {
    case "workflow_id":
    case "workflow_execution_id":
    case "workflow_ids":
    case "parent_workflow_id":
      if (destructive.has(parent)) {
        return field.name === "parent_workflow_id"
          ? random.pick(random.chance(0.6) ? [""] : [...places.doomed, ...places.open])
          : random.pick(places.doomed);
      }
      if (random.chance(0.85)) return random.pick(places.open);
      return random.pick([...places.ended, ...places.doomed, ...places.foreign, ...places.unknown]);
    case "session_id":
      if (parent === "CloseSessionRequest") return random.pick(places.sessions.slice(-3));
      return random.chance(0.9) ? random.pick(["", ...places.sessions]) : places.foreignSession;
    case "tenant_slug":
    case "slug":
      return random.pick(places.tenants);
    case "space":
      return random.pick(places.spaces);
    case "task_execution_id":
    case "task_execution_ids":
      return random.chance(0.7) ? random.pick(places.tasks) : `task ${random.below(100)}`;
    case "producer_id":
      return random.pick(["", "p", "q"]);
    case "label":
      return random.pick(["a", "b", "c", "d"]);
    case "name":
      // Now and then one that nobody has locked or bound by a rule yet.
      return random.chance(0.7) ? random.pick(places.variables) : `n${random.below(1000)}`;
    case "observation_id":
      return `o${random.below(5)}-${random.below(5)}`;
    case "api_key_id":
      return random.pick([...places.apiKeys, places.unknown[0] as string, "key"]);
    case "content":
    case "text":
      return random.pick(["the quick brown fox", "läuft", "x", `words ${random.below(1000)}`]);
    case "page_token":
      return pageToken(random);
    case "pattern":
      return random.pick(["^[a-z]+$", "a*", ".", "^\\d{1,3}$"]);
    case "first_sequence":
    case "last_sequence":
      return BigInt(random.below(4));
    case "sequence":
      return random.chance(0.6) ? 0n : BigInt(random.below(50));
    case "type":
      return field.enum === undefined ? "x" : 1 + random.below(8);
    case "status":
      return 2 + random.below(3);
    case "heartbeat_interval_ms":
      return random.pick([0, 1000, 5000]);
    case "min_interval_ms":
      return random.pick([0, 0, 1, 50]);
    case "ttl_seconds":
      return 60 + random.below(600);
    case "wait_for_durable":
      return random.chance(0.8);
    case "disabled":
      return false;
    case "service":
      return random.pick(["", "tributary.v1.WorkflowService"]);
    case "file_by_filename":
      return random.pick(["tributary/v1/event.proto", "google/protobuf/struct.proto"]);
    case "file_containing_symbol":
    case "all_extension_numbers_of_type":
    case "containing_type":
      return random.pick(["tributary.v1.Event", "google.protobuf.FieldOptions"]);
    case "after_offset":
    case "cursor":
    case "snapshot_offset":
      return BigInt(random.below(3));
    case "expected_epoch":
    case "expected_version":
      return random.pick([0n, 0n, 1n]);
  }
  if (field.enum !== undefined) return random.pick(field.enum.values).number;
  switch (field.scalar) {
    case ScalarType.STRING:
      return random.pick(["", "x", "some words"]);
    case ScalarType.BYTES:
      return Uint8Array.from({ length: random.below(20) }, () => random.below(256));
    case ScalarType.BOOL:
      return random.chance(0.5);
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      return random.next();
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return BigInt(random.below(100));
    default:
      return random.below(20);
  }
}

/** Positions as answers hold them, and some that none holds. */
export function pageToken(random: Random): string {
  if (random.chance(0.3)) return "";
  const odd = [0, -1, 1, 1e15, 2 ** 53, 1e300, -0.5, "", "x", "\0", "\ud800", null, [], {}, places.open[0]];
  const names = ["offset", "createdMs", "workflowId", "apiKeyId", "sessionId", "slug", "space", "name"];
  const names2 = [...names, "since", "round", "sinceMs", "__proto__"];
  const position = Object.fromEntries(
    random.chance(0.7)
      ? names.map((name) => [name, random.pick(odd)])
      : Array.from({ length: random.below(4) }, () => [random.pick(names2), random.pick(odd)]),
  );
  const text = random.pick([JSON.stringify(position), JSON.stringify(random.pick(odd)), "{", "\0", "null"]);
  return Buffer.from(text).toString(random.pick(["base64url", "base64", "hex"]));
}

/** Of workflows, only such as may be closed and deleted. */
const strings = [
  "",
  "\0",
  "a\0b",
  "\ud800",
  "x\udfff",
  "\u202e\u0000",
  "\u0085\u2028",
  "💥".repeat(64),
  "__proto__",
  "constructor",
  "{}",
  "null",
  "%00",
  "../..",
  "'; select 1; --",
  "{00000000-0000-0000-0000-000000000000}",
  "00000000-0000-0000-0000-000000000000",
  "F0220000-0003-7000-8000-000000000000",
  "f0220000-0003-7000-8000-00000000000",
  "f0220000-0003-7000-8000-000000000000 ",
  "ABC",
  "a".repeat(255),
  "a".repeat(256),
  "a".repeat(63),
  "\n",
  "e\u0301".repeat(200),
];
const patterns = [
  "(a+)+$",
  "(x+x+)+y",
  "(.*)*(.*)*(.*)*z",
  "[",
  "(?=a)b",
  "\\1",
  "a{1000}",
  "((a{1,100}){1,100}){1,100}",
  "(?i)é",
  "\\p{Cc}",
  "(?P<n>a)",
  "(".repeat(128) + ")".repeat(128),
  "(a|b|ab)*c",
  "[^\\x00-\\x{10FFFF}]",
];
const bigs = [
  0n,
  1n,
  -1n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
  -(2n ** 63n),
];
const numbers = [0, -0, 1, -1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 1000, 1001, 60_001, 300_001, 999];
const floats = [
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  -0,
  1e308,
  5e-324,
  1.0000001,
  -1e-9,
  3.5e38,
];
const notUtf8 = ["ff", "c080", "eda080", "f8888080", "80", "61c3", "f4908080"];

export function odd(random: Random, field: DescField, mostBytes: number): Scalar {
  if (field.name === "pattern" && random.chance(0.8)) return random.pick(patterns);
  if (field.name === "page_token" && random.chance(0.8)) return pageToken(random);
  // What would take the tenants of the other inputs away.
  if (field.name === "disabled") return false;
  if (field.enum !== undefined)
    return random.pick([-1, 0, 1, 2, 12, 19, 40, 41, 99, 2 ** 31 - 1, -(2 ** 31)]);
  switch (field.scalar) {
    case ScalarType.STRING: {
      if (random.chance(0.15)) return Buffer.from(`61${random.pick(notUtf8)}62`, "hex");
      if (random.chance(0.1))
        return random.pick(["a", "\0", "é", "💥"]).repeat(random.below(mostBytes / 2) + 1);
      return random.pick(strings);
    }
    case ScalarType.BYTES:
      return random.chance(0.1) ? new Uint8Array(random.below(mostBytes)) : Uint8Array.of(0, 255);
    case ScalarType.BOOL:
      return random.chance(0.5);
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      return random.pick(floats);
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return random.pick(bigs);
    default:
      return random.pick(numbers);
  }
}
