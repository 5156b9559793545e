/**
 * Every limit of the proto files: the values at its bounds are accepted and those beyond are refused, with a text that
 * names the field and the value. The last tests hold the table against the proto files: none is missing, none is extra.
 */
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { create, getOption, hasOption, isFieldSet } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { NullValue, ValueSchema } from "@bufbuild/protobuf/wkt";
import { createValidator } from "@bufbuild/protovalidate";
import {
  type FieldRules,
  FieldRulesSchema,
  field as fieldRules,
  oneof as oneofRules,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { describe, expect, test } from "vitest";
import { file_tributary_v1_admin_service as adminFile } from "../../gen/tributary/v1/admin_service_pb.ts";
import { file_tributary_v1_event as eventFile } from "../../gen/tributary/v1/event_pb.ts";
import { file_tributary_v1_event_stream_service as eventStreamFile } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { file_tributary_v1_memory_service as memoryFile } from "../../gen/tributary/v1/memory_service_pb.ts";
import { file_tributary_v1_session as sessionFile } from "../../gen/tributary/v1/session_pb.ts";
import { file_tributary_v1_task_stream_service as taskStreamFile } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { file_tributary_v1_token_service as tokenFile } from "../../gen/tributary/v1/token_service_pb.ts";
import {
  VariableAssignmentSchema,
  file_tributary_v1_variable_service as variableFile,
} from "../../gen/tributary/v1/variable_service_pb.ts";
import { file_tributary_v1_workflow_service as workflowFile } from "../../gen/tributary/v1/workflow_service_pb.ts";
import { invalidReason } from "../../server/rpc/validation.ts";

const files = [
  adminFile,
  eventFile,
  eventStreamFile,
  memoryFile,
  sessionFile,
  taskStreamFile,
  tokenFile,
  variableFile,
  workflowFile,
];
const schemas = files.flatMap((file) => file.messages);

/** Values of a field that are accepted (the first makes a message valid), and refused ones with parts of the text. */
interface Limit {
  readonly accepted: readonly unknown[];
  readonly refused: readonly (readonly [value: unknown, ...said: string[]])[];
}

const max53 = 9007199254740991n;
const mebibyte = 1024 * 1024;
const lower = "0198f3a2-6b1c-7d4e-8f90-a1b2c3d4e5f6";

const orEmpty = (limit: Limit): Limit => ({
  accepted: [...limit.accepted, ""],
  refused: limit.refused
    .filter(([value]) => value !== "")
    .map(([value, ...said]) => [value, ...said, ", or be empty"]),
});

const uuid: Limit = {
  accepted: [lower, lower.toUpperCase(), "00000000-0000-0000-0000-000000000000"],
  refused: [
    ["", "must be a UUID such as", 'found ""'],
    ["abc", 'found "abc"'],
    [`{${lower}}`, `found "{${lower}}"`],
    [lower.replaceAll("-", ""), "must be a UUID"],
    [`${lower}\n`, "\\n"],
  ],
};
const printable: Limit = {
  accepted: ["t", "x".repeat(255), "😀".repeat(255), "task-7#2", "naïve 任务"],
  refused: [
    ["", "must be 1–255 printable characters", 'found ""'],
    ["x".repeat(256), "found a text of 256 bytes"],
    ["😀".repeat(256), "found a text of 1024 bytes"],
    ["a\u0000b", 'found "a\\u0000b"'],
    ["a\nb", 'found "a\\nb"'],
    ["a\u007fb", 'found "a\\u007fb"'],
    ["a\u0085b", 'found "a\\u0085b"'],
  ],
};
const slug: Limit = {
  accepted: ["abc", "0-_", `a${"-".repeat(62)}`],
  refused: [
    ["", "must be 3–63 characters of a–z, 0–9, _ and -", 'found ""'],
    ["ab", 'found "ab"'],
    ["Abc", 'found "Abc"'],
    ["-bc", 'found "-bc"'],
    ["ab.c", 'found "ab.c"'],
    ["abc\n", 'found "abc\\n"'],
    [`a${"b".repeat(63)}`, `found "a${"b".repeat(63)}"`],
  ],
};
const traceparent: Limit = {
  accepted: [
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    `00-${"f".repeat(32)}-${"f".repeat(16)}-ff`,
  ],
  refused: [
    ["", "must be a W3C traceparent of version 00", 'found ""'],
    ["01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "version 00"],
    ["00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", "lower case"],
    ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n", "must be a W3C traceparent"],
    ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", "must be a W3C traceparent"],
  ],
};
const nul = ["a\u0000b", "must not contain the character U+0000", 'found "a\\u0000b"'] as const;
const text: Limit = { accepted: ["any", "", "\u0001\n", "é".repeat(2000)], refused: [nul] };
const someText: Limit = {
  accepted: ["k"],
  refused: [["", "must have at least 1 character,", 'found ""'], nul],
};
const name = (most: number): Limit => ({
  accepted: ["n", "😀".repeat(most), "a\nb"],
  refused: [
    ["", "must have at least 1 character,", 'found ""'],
    ["x".repeat(most + 1), `must have at most ${most} characters`, `found a text of ${most + 1} bytes`],
    nul,
  ],
});
const label: Limit = {
  accepted: ["l", "😀".repeat(64)],
  refused: [
    ["", "must have at least 1 character,"],
    ["x".repeat(65), "must have at most 64 characters", `found "${"x".repeat(65)}"`],
  ],
};
const pattern: Limit = {
  accepted: ["", "x".repeat(256)],
  refused: [["x".repeat(257), "must have at most 256 characters", "found a text of 257 bytes"], nul],
};
const overMebibyte = ["must have at most 1048576 bytes", "split it, or keep it elsewhere"] as const;
const payload: Limit = {
  accepted: ["", "x".repeat(mebibyte), "é".repeat(mebibyte / 2), "\u0000"],
  refused: [
    ["x".repeat(mebibyte + 1), ...overMebibyte, "found a text of 1048577 bytes"],
    ["é".repeat(mebibyte / 2 + 1), ...overMebibyte, "found a text of 1048578 bytes"],
  ],
};
const content: Limit = {
  accepted: ["x", "é".repeat(mebibyte / 2)],
  refused: [
    ["", "must have at least 1 byte,", 'found ""'],
    ["x".repeat(mebibyte + 1), ...overMebibyte, "found a text of 1048577 bytes"],
    nul,
  ],
};
const binary: Limit = {
  accepted: [new Uint8Array(), new Uint8Array(mebibyte)],
  refused: [[new Uint8Array(mebibyte + 1), ...overMebibyte, "found 1048577 bytes"]],
};
const metadata: Limit = {
  accepted: [{}, { k: "v", "": "" }],
  refused: [
    [{ k: "a\u0000b" }, '["k"] must not contain the character U+0000', 'found "a\\u0000b"'],
    [{ "a\u0000": "v" }, '["a\\u0000"] must not contain the character U+0000', 'found "a\\u0000"'],
  ],
};
const number53: Limit = {
  accepted: [0n, max53],
  refused: [[max53 + 1n, "must be less than or equal to 9007199254740991", "found 9007199254740992"]],
};
const offset: Limit = {
  accepted: [1n, max53],
  refused: [
    [0n, "must be greater than or equal to 1", "found 0"],
    [max53 + 1n, "less than or equal to 9007199254740991", "found 9007199254740992"],
  ],
};
const milliseconds: Limit = {
  accepted: [0n, max53],
  refused: [
    [-1n, "must be greater than or equal to 0", "found -1"],
    [max53 + 1n, "less than or equal to 9007199254740991", "found 9007199254740992"],
  ],
};
const upTo = (most: number): Limit => ({
  accepted: [0, most],
  refused: [[most + 1, `must be less than or equal to ${most}`, `found ${most + 1}`]],
});
const heartbeat: Limit = {
  accepted: [0, 1000, 300_000],
  refused: [
    [999, "must be greater than or equal to 1000 and less than or equal to 300000, or 0", "found 999"],
    [300_001, "found 300001"],
  ],
};
const unit: Limit = {
  accepted: [0, 0.5, 1],
  refused: [
    [-0.5, "must be greater than or equal to 0 and less than or equal to 1", "found -0.5"],
    [1.5, "found 1.5"],
    [Number.NaN, "found NaN"],
  ],
};
const rate: Limit = {
  accepted: [0, 1e30],
  refused: [
    [-1, "must be greater than or equal to 0", "found -1"],
    [Number.NaN, "found NaN"],
    [Number.POSITIVE_INFINITY, "must be finite", "found Infinity"],
  ],
};
const known = (enumeration: string, last: number): Limit => ({
  accepted: [0, last],
  refused: [
    [last + 1, `must be a value of ${enumeration}`, `found ${last + 1} (a newer server may know it)`],
  ],
});
const knownAndGiven = (enumeration: string, zero: string, last: number): Limit => ({
  accepted: [last, 1],
  refused: [
    [0, `must not be ${zero} (0)`, `found ${zero} (0)`],
    [99, `must be a value of ${enumeration}`, "found 99"],
  ],
});
const eventType = knownAndGiven("EventType", "EVENT_TYPE_UNSPECIFIED", 40);
const workerType: Limit = {
  accepted: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
  refused: [
    [
      0,
      "must be one of EVENT_TYPE_TOKEN (1), ",
      "EVENT_TYPE_CANCELLED (11), found EVENT_TYPE_UNSPECIFIED (0)",
    ],
    [12, "found 12"],
    ...[20, 21, 22, 23, 24, 30, 31].map((type) => [type, `(${type})`] as const),
    [40, "found EVENT_TYPE_OBSERVATION (40)"],
  ],
};
const conflatable: Limit = {
  accepted: [2, 3, 6, 30, 31],
  refused: [
    [1, "must be one of EVENT_TYPE_PROGRESS (2), ", "found EVENT_TYPE_TOKEN (1)"],
    [9, "found EVENT_TYPE_COMPLETED (9)"],
  ],
};
const closedStatus: Limit = {
  accepted: [2, 3, 4],
  refused: [
    [0, "must be one of WORKFLOW_STATUS_COMPLETED (2), ", "found WORKFLOW_STATUS_UNSPECIFIED (0)"],
    [1, "found WORKFLOW_STATUS_RUNNING (1)"],
    [5, "found 5"],
  ],
};
const given = (value: Message): Limit => ({
  accepted: [value],
  refused: [[undefined, "must be given", "found nothing"]],
});

/** The same limit for each entry of a list. */
const each = ({ accepted, refused }: Limit): Limit => ({
  accepted: [accepted, []],
  refused: refused.map(([value, ...said]) => [[accepted[0], value], "[1] must ", ...said]),
});
/** A bound on how many entries there are. */
const many = (entry: unknown, least: number, most: number): Limit => ({
  accepted: [Array(Math.max(least, 1)).fill(entry), Array(least).fill(entry), Array(most).fill(entry)],
  refused: [
    ...(least > 0 ? [[[], `must hold at least ${least}`, "found 0"] as const] : []),
    [
      Array(most + 1).fill(entry),
      `must hold at most ${most}`,
      `found ${most + 1} (send the rest in another message)`,
    ],
  ],
});
const both = (one: Limit, other: Limit): Limit => ({
  accepted: [...one.accepted, ...other.accepted],
  refused: [...one.refused, ...other.refused],
});

const value = create(ValueSchema, { kind: { case: "nullValue", value: NullValue.NULL_VALUE } });
const page = upTo(1000);
const number31 = upTo(2 ** 31 - 1);

/** Message, field, limit. Messages in a list or field are made valid by their own rows. */
const table: Record<string, Record<string, Limit>> = {
  Event: {
    workflow_id: orEmpty(uuid),
    task_execution_id: orEmpty(printable),
    offset,
    sequence: number53,
    type: eventType,
    text: payload,
    binary,
    timestamp_ms: milliseconds,
    recorded_ms: milliseconds,
    producer_id: orEmpty(printable),
    traceparent: orEmpty(traceparent),
  },
  EventBatch: { events: many("Event", 0, 1000) },
  StreamOptions: {
    after_offset: number53,
    types: each(eventType),
    task_execution_ids: each(printable),
    min_interval_ms: upTo(60_000),
    conflate_types: each(conflatable),
    heartbeat_interval_ms: heartbeat,
  },
  StreamWorkflowRequest: { workflow_id: uuid },
  StreamWorkflowConsolidatedRequest: { workflow_id: uuid },
  StreamTaskRequest: { workflow_id: uuid, task_execution_id: printable },
  StreamTarget: {
    label,
    scope: known("StreamScope", 3),
    workflow_id: uuid,
    task_execution_id: orEmpty(printable),
  },
  StreamManyRequest: { targets: many("StreamTarget", 1, 500) },
  ReadEventsRequest: {
    workflow_id: uuid,
    cursor: number53,
    limit: page,
    types: each(eventType),
    task_execution_ids: each(printable),
  },
  StreamTaskDataRequest: {
    task_execution_id: printable,
    workflow_execution_id: uuid,
    sequence: number53,
    type: workerType,
    payload,
    timestamp_ms: milliseconds,
    producer_id: orEmpty(printable),
    traceparent: orEmpty(traceparent),
  },
  TaskEvent: {
    workflow_id: orEmpty(uuid),
    task_execution_id: printable,
    sequence: number53,
    type: workerType,
    text: payload,
    binary,
    timestamp_ms: milliseconds,
    traceparent: orEmpty(traceparent),
  },
  PublishTaskEventsRequest: { events: many("TaskEvent", 0, 1000), producer_id: orEmpty(printable) },
  TaskEventBatch: { first_sequence: number53, events: many("TaskEvent", 0, 1000) },
  PublishTaskStreamInit: { workflow_id: uuid },
  SessionInit: {
    session_id: orEmpty(uuid),
    ack_level: known("AckLevel", 2),
    max_batch_size: page,
    priority: known("Priority", 3),
  },
  SessionStatus: { pressure: unit },
  SessionFlow: { action: knownAndGiven("FlowAction", "FLOW_ACTION_UNSPECIFIED", 5), preferred_rate: rate },
  SessionClose: { last_sequence: number53 },
  Workflow: {
    workflow_id: uuid,
    parent_workflow_id: orEmpty(uuid),
    root_workflow_id: uuid,
    name: name(200),
    metadata,
    depth: upTo(32),
  },
  Retention: { max_age_after_close_ms: milliseconds, max_events: number53 },
  CreateWorkflowRequest: {
    workflow_id: orEmpty(uuid),
    parent_workflow_id: orEmpty(uuid),
    name: name(200),
    metadata,
  },
  GetWorkflowRequest: { workflow_id: uuid },
  ListWorkflowsRequest: {
    page_size: page,
    status: known("WorkflowStatus", 4),
    parent_workflow_id: orEmpty(uuid),
    name_contains: text,
  },
  GetWorkflowTreeRequest: { workflow_id: uuid, page_size: page },
  CloseWorkflowRequest: { workflow_id: uuid, status: closedStatus, payload },
  RequestCancelRequest: { workflow_id: uuid, reason: text },
  DeleteWorkflowTreeRequest: { workflow_id: uuid },
  WatchWorkflowsRequest: { snapshot_size: page },
  VariableConstraints: {
    pattern,
    choices: both(
      many("c", 0, 100),
      each({
        accepted: ["", "x".repeat(255)],
        refused: [["x".repeat(256), "must have at most 255 characters", "found a text of 256 bytes"], nul],
      }),
    ),
  },
  Variable: { workflow_id: uuid, name: name(255), metadata },
  VariableAssignment: { name: name(255), type: known("VariableType", 6), value: given(value), metadata },
  SetVariableRequest: {
    workflow_id: uuid,
    assignment: given(create(VariableAssignmentSchema, { name: "n", value })),
    source: text,
  },
  SetVariablesRequest: { workflow_id: uuid, assignments: many("VariableAssignment", 1, 1000), source: text },
  GetVariableRequest: { workflow_id: uuid, name: name(255) },
  ListVariablesRequest: { workflow_id: uuid, page_size: page },
  DeleteVariableRequest: { workflow_id: uuid, name: name(255), source: text },
  WatchVariablesRequest: { workflow_id: uuid, names: each(name(255)) },
  SpaceRetention: { max_age_ms: milliseconds, max_observations: number53 },
  MemorySpace: { space: slug },
  Observation: {
    observation_id: text,
    content,
    metadata,
    confidence: unit,
    observed_ms: milliseconds,
    importance: unit,
  },
  ObserveStreamInit: { space: orEmpty(slug) },
  ObservationBatch: { first_sequence: number53, observations: many("Observation", 0, 1000) },
  TimeRange: { from_ms: milliseconds, to_ms: milliseconds },
  Cue: { text, session_id: uuid },
  RecallStreamRequest: {
    space: orEmpty(slug),
    max_results: page,
    min_score: unit,
    snapshot_offset: number53,
  },
  RecalledObservation: { score: unit },
  CreateMemorySpaceRequest: { space: slug, display_name: text },
  UpdateMemorySpaceRequest: { space: slug, display_name: text },
  ListMemorySpacesRequest: { page_size: page },
  GetObservationRequest: { space: orEmpty(slug), observation_id: someText, offset },
  CreateStreamTokenRequest: {
    workflow_ids: both(many(lower, 1, 100), { ...each(uuid), accepted: [uuid.accepted] }),
    ttl_seconds: upTo(3600),
  },
  TenantLimits: {
    max_streams: number31,
    max_sessions: number31,
    max_events_per_second: number31,
    max_bytes_per_second: number53,
    max_open_workflows: number31,
  },
  Tenant: { slug, display_name: text, retention_ms: milliseconds, retention_events: number53 },
  CreateTenantRequest: { slug, display_name: text, retention_ms: milliseconds, retention_events: number53 },
  UpdateTenantRequest: { slug, display_name: text, retention_ms: milliseconds, retention_events: number53 },
  ListTenantsRequest: { page_size: page },
  CreateApiKeyRequest: {
    tenant_slug: orEmpty(slug),
    display_name: text,
    roles: each(knownAndGiven("Role", "ROLE_UNSPECIFIED", 3)),
  },
  ListApiKeysRequest: { tenant_slug: orEmpty(slug), page_size: page },
  RevokeApiKeyRequest: { api_key_id: someText },
  ListSessionsRequest: {
    tenant_slug: orEmpty(slug),
    state: known("SessionState", 8),
    page_size: page,
    session_id: orEmpty(uuid),
  },
  CloseSessionRequest: { session_id: uuid },
  GetStatsRequest: { tenant_slug: orEmpty(slug), max_streams: page },
  StreamSystemEventsRequest: {
    types: each(knownAndGiven("SystemEventType", "SYSTEM_EVENT_TYPE_UNSPECIFIED", 11)),
    tenant_slug: orEmpty(slug),
  },
  LaneStats: { pressure: unit },
};

const plain = createValidator();
const withoutNativeRules = createValidator({ disableNativeRules: true });

function setField(message: ReflectMessage, field: DescField, to: unknown): void {
  if (field.fieldKind === "list") {
    const list = message.get(field);
    list.clear();
    const entry = (one: unknown) =>
      field.message === undefined ? one : reflect(field.message, valid(field.message));
    for (const one of to as unknown[]) list.add(entry(one));
  } else if (field.fieldKind === "map") {
    const map = message.get(field);
    map.clear();
    for (const [key, one] of Object.entries(to as object)) map.set(key, one);
  } else if (to === undefined) {
    message.clear(field);
  } else {
    message.set(field, field.fieldKind === "message" ? reflect(field.message, to as Message) : to);
  }
}

/** A message whose limited fields have the first accepted values. */
function valid(schema: DescMessage): Message {
  const message = create(schema);
  for (const [fieldName, limit] of Object.entries(table[schema.name] ?? {})) {
    setField(reflect(schema, message, false), fieldOf(schema, fieldName), limit.accepted[0]);
  }
  return message;
}

function withField(schema: DescMessage, field: DescField, to: unknown): Message {
  const message = valid(schema);
  setField(reflect(schema, message, false), field, to);
  return message;
}

function schemaOf(messageName: string): DescMessage {
  const found = schemas.find(({ name }) => name === messageName);
  if (found === undefined) throw new Error(`no message ${messageName}`);
  return found;
}

function fieldOf(schema: DescMessage, fieldName: string): DescField {
  const found = schema.fields.find((field) => field.name === fieldName);
  if (found === undefined) throw new Error(`${schema.name} has no field ${fieldName}`);
  return found;
}

const rows = Object.entries(table).flatMap(([messageName, limits]) => {
  const schema = schemaOf(messageName);
  return Object.entries(limits).map(([fieldName, limit]) => ({
    title: `${messageName}.${fieldName}`,
    schema,
    field: fieldOf(schema, fieldName),
    limit,
  }));
});

describe.each(rows)("$title", ({ schema, field, limit }) => {
  test("accepts the values at its bounds", () => {
    for (const accepted of limit.accepted) {
      expect(invalidReason(schema, withField(schema, field, accepted))).toBeUndefined();
    }
  });

  test("refuses the values beyond, naming itself and the value", () => {
    for (const [refused, ...said] of limit.refused) {
      const reason = invalidReason(schema, withField(schema, field, refused));
      expect(reason).toMatch(new RegExp(`^(the key of )?${field.name}\\b`));
      for (const part of said) expect(reason).toContain(part);
    }
  });

  test("is judged by the library's own engines as by ours", () => {
    for (const tried of [...limit.accepted, ...limit.refused.map(([refused]) => refused)]) {
      const message = withField(schema, field, tried);
      const ours = invalidReason(schema, message) === undefined ? "valid" : "invalid";
      expect(plain.validate(schema, message).kind).toBe(ours);
      expect(withoutNativeRules.validate(schema, message).kind).toBe(ours);
    }
  });

  test("has a refused value for every one of its rules", () => {
    const broken = new Set<string>();
    for (const [refused] of limit.refused) {
      for (const { ruleId } of plain.validate(schema, withField(schema, field, refused)).violations ?? []) {
        broken.add(ruleId.replace("_empty", ""));
      }
    }
    expect([...broken].sort()).toEqual([...new Set(ruleIds(getOption(field, fieldRules)))].sort());
  });
});

test("every rule of the proto files has its row in the table, and there are no other rows", () => {
  const ruled = schemas.flatMap((schema) =>
    schema.fields
      .filter((field) => hasOption(field, fieldRules))
      .map((field) => `${schema.name}.${field.name}`),
  );
  expect(rows.map(({ title }) => title).sort()).toEqual(ruled.sort());
  expect(schemas.flatMap(({ nestedMessages }) => nestedMessages)).toEqual([]);
});

test("GetObservation demands one of its keys, the only oneof that must be given", () => {
  const ruled = schemas.flatMap(({ oneofs }) => oneofs.filter((oneof) => hasOption(oneof, oneofRules)));
  expect(ruled.map((oneof) => `${oneof.parent.name}.${oneof.name}`)).toEqual(["GetObservationRequest.key"]);
  const schema = schemaOf("GetObservationRequest");
  expect(invalidReason(schema, create(schema))).toBe(
    "key must be given: one of observation_id, offset, found none",
  );
});

/** The ids with which the rules of a field are reported. */
function ruleIds(rules: FieldRules): string[] {
  const ids = rules.required ? ["required"] : [];
  const { case: kind, value: own } = rules.type;
  if (kind === undefined) return ids;
  const set = reflectedNames(rules);
  if (kind === "repeated" && own.items !== undefined) ids.push(...ruleIds(own.items));
  if (kind === "map")
    for (const part of [own.keys, own.values]) if (part !== undefined) ids.push(...ruleIds(part));
  if (set.includes("gte") && set.includes("lte")) ids.push(`${kind}.gte_lte`);
  else ids.push(...set.filter((rule) => rule === "gte" || rule === "lte").map((rule) => `${kind}.${rule}`));
  const others = set.filter((rule) => !["gte", "lte", "items", "keys", "values"].includes(rule));
  return [...ids, ...others.map((rule) => `${kind}.${rule}`)];
}

function reflectedNames(rules: FieldRules): string[] {
  const own = rules.type.value;
  if (own === undefined) return [];
  const schema = FieldRulesSchema.fields.find((field) => field.localName === rules.type.case)?.message;
  return (schema?.fields ?? []).filter((field) => isFieldSet(own, field)).map((field) => field.name);
}
