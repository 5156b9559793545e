/** docs/operations/limits.md names every limit with the value that the code has. */
import { readFileSync } from "node:fs";
import { getOption, hasOption } from "@bufbuild/protobuf";
import { field as fieldRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { expect, test } from "vitest";
import { file_tributary_v1_admin_service as admin } from "../../gen/tributary/v1/admin_service_pb.ts";
import { file_tributary_v1_event as event } from "../../gen/tributary/v1/event_pb.ts";
import { file_tributary_v1_event_stream_service as eventStream } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { file_tributary_v1_memory_service as memory } from "../../gen/tributary/v1/memory_service_pb.ts";
import { file_tributary_v1_task_stream_service as tasks } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { file_tributary_v1_token_service as token } from "../../gen/tributary/v1/token_service_pb.ts";
import { file_tributary_v1_variable_service as variables } from "../../gen/tributary/v1/variable_service_pb.ts";
import { file_tributary_v1_workflow_service as workflows } from "../../gen/tributary/v1/workflow_service_pb.ts";
import { limits } from "../../server/core/limits.ts";
import { readPage, rowsOf } from "./pages.ts";

/** The constants at the top of these files, by a short name. */
const files: Record<string, string> = {
  port: "server/http/port.ts",
  edge: "server/http/edge-limits.ts",
  compressions: "server/rpc/compressions.ts",
  main: "server/main.ts",
  publish: "server/core/publish.ts",
  sdk: "client/resilience/options.ts",
  sdkSession: "client/write/session.ts",
  sdkConnection: "client/write/connection.ts",
  sdkOutbox: "client/write/outbox.ts",
  sdkReading: "client/read/subscription.ts",
  sdkShared: "client/read/shared-call.ts",
  sessions: "server/core/session/sessions.ts",
  rates: "server/core/quota/rates.ts",
  limitsCache: "server/core/quota/limits-cache.ts",
  readers: "server/core/quota/readers.ts",
  workflows: "server/core/workflows.ts",
  authenticator: "server/auth/authenticator.ts",
  signingKeys: "server/auth/signing-keys.ts",
  revocation: "server/auth/revocation-sweep.ts",
};
const schemas = new Map(
  [admin, event, eventStream, memory, tasks, token, variables, workflows]
    .flatMap((file) => file.messages)
    .map((schema) => [schema.name, schema]),
);
const page = readPage("docs/operations/limits.md");
const rows = rowsOf(page).map(([limit = "", value = "", , , from = ""]) => ({
  limit,
  value,
  from: from.replaceAll("`", ""),
}));

/** Each number of an object, by its path. */
function leavesOf(value: object, path: string): [path: string, number: number][] {
  return Object.entries(value).flatMap(([key, inner]) =>
    typeof inner === "number"
      ? [[`${path}.${key}`, inner] as [string, number]]
      : leavesOf(inner, `${path}.${key}`),
  );
}

/** `const someMs = 10_000` or `= { a: 1024 * 1024 }`: numbers, and products of numbers. */
function constantsOf(short: string): [path: string, number: number][] {
  const source = readFileSync(files[short] ?? "", "utf8");
  return [...source.matchAll(/^(?:export )?const (\w+) = ([{\d][^;]*);$/gm)].flatMap(
    ([, name, text = ""]) => {
      if (!text.startsWith("{")) return [[`${short}.${name}`, product(text)] as [string, number]];
      return [...text.matchAll(/(\w+): ([\d_ *]+)/g)].map(
        ([, key, value = ""]) => [`${short}.${name}.${key}`, product(value)] as [string, number],
      );
    },
  );
}

const product = (text: string) =>
  text.split("*").reduce((all, factor) => all * Number(factor.trim().replaceAll("_", "")), 1);

function written(path: string, value: number): string {
  const name = path.toLowerCase();
  if (/Ms(\.|$)/.test(path) && value % 1000 === 0) return `${value / 1000} s`;
  if (name.endsWith("mb")) return `${value} MB`;
  if (name.includes("bytes")) {
    return value % 2 ** 20 === 0 ? `${value / 2 ** 20} MiB` : `${value / 1024} KiB`;
  }
  return value.toLocaleString("en");
}

/** The numbers of a field's rule, and its pattern if it is more than a length. */
function ruleTexts(path: string): string[] {
  const [message = "", name] = path.split(".");
  const field = schemas.get(message)?.fields.find((candidate) => candidate.name === name);
  if (field === undefined || !hasOption(field, fieldRules)) throw new Error(`${path} has no rule`);
  const { value: rules } = getOption(field, fieldRules).type;
  if (typeof rules !== "object") throw new Error(`${path} has no rule of a type`);
  const text = JSON.stringify(rules, (_, value) => (typeof value === "bigint" ? Number(value) : value));
  const { pattern = "", ...found } = JSON.parse(text) as Record<string, unknown> & { pattern?: string };
  if (pattern.startsWith("^[")) return [`\`${pattern.slice(1, -1)}\``];
  const inPattern = [...pattern.matchAll(/\d+/g)].map(([number]) => Number(number));
  const numbers = ["minLen", "maxLen", "minItems", "maxItems", "maxBytes"].map((key) => found[key]);
  const { value: most } = (found["lessThan"] ?? {}) as { value?: number };
  return [...inPattern, ...numbers, most]
    .filter((number) => typeof number === "number" && number > 0)
    .map((number) => (number as number).toLocaleString("en"));
}

const constants = new Map([
  ...leavesOf(limits, "limits"),
  ...Object.keys(files).flatMap((short) => constantsOf(short)),
]);

test("each row has the value of the place that it names", () => {
  expect(rows.length).toBeGreaterThan(35);
  for (const { limit, value, from } of rows) {
    const known = constants.get(from);
    if (known !== undefined) expect(value, `${limit}, from ${from}`).toBe(written(from, known));
    else {
      const texts = ruleTexts(from);
      expect(texts.length, from).toBeGreaterThan(0);
      for (const text of texts) expect(value, `${limit}, from ${from}`).toContain(text);
    }
  }
});

test("no bound of server/core/limits.ts and of the port is left out", () => {
  const named = new Set(rows.map(({ from }) => from));
  const isLimit = (path: string) =>
    /^(limits|edge)\./.test(path) || /^port\.(max|\w*(Ms|Mb|Bytes)(\.|$))/.test(path);
  const missing = [...constants.keys()].filter((path) => isLimit(path) && !named.has(path));
  expect(missing).toEqual([]);
});
