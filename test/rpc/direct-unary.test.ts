/**
 * Every RPC with one message each way, as the server serves it: a new one is compared without a word. Done and refused, directly and
 * by Connect, in all protocols.
 */
import {
  create,
  type DescMethod,
  type DescMethodUnary,
  fromBinary,
  type Message,
  toBinary,
} from "@bufbuild/protobuf";
import { v4 as uuidv4 } from "uuid";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { services } from "../../server/rpc/services.ts";
import { isValid } from "../../server/rpc/validation.ts";
import { accessTable } from "../api/access-table.ts";
import { requestFor, type Subjects } from "../api/every-rpc.ts";
import { newSession, newWorkflow, remember } from "../api/trees.ts";
import { adminKey, useServer } from "../support/server.ts";
import { type Answer, type Case, closeSessions, compare, envelope, ofUnary, type Way } from "./both-ways.ts";

const server = useServer();
const methods = services.flatMap((service) => service.methods).filter(isUnary);
const isHealth = ({ parent }: DescMethod) => parent.name === "Health";
const nameOf = ({ parent, name }: DescMethod) => `${parent.name}.${name}`;
const pathOf = ({ parent, name }: DescMethod) => `/${parent.typeName}/${name}`;

function isUnary(method: DescMethod): method is DescMethodUnary {
  return method.methodKind === "unary";
}

let own: Subjects;
let token = "";
const unknown: Subjects = {
  workflowId: uuidv4(),
  tenantSlug: "nobody",
  apiKeyId: "key_none",
  sessionId: uuidv4(),
};

beforeAll(async () => {
  own = await newSubjects();
  await remember(server.acme);
  ({ token } = await server.acme.tokens.createStreamToken({ workflowIds: [own.workflowId] }));
});
afterAll(closeSessions);

/** What is done to these shows in what they say: each call has its own. */
async function newSubjects(): Promise<Subjects> {
  const { acme } = server;
  const workflowId = await newWorkflow(acme);
  const value = { kind: { case: "numberValue" as const, value: 1 } };
  await acme.variables.setVariable({ workflowId, assignment: { name: "a", value } });
  const { apiKeyId } = await acme.admin.createApiKey({ displayName: "spare" });
  return { workflowId, tenantSlug: "acme", apiKeyId, sessionId: await newSession(acme, workflowId) };
}

/** What they do can be done once. */
const onceOnly: Readonly<Record<string, (subjects: Subjects) => Promise<object>>> = {
  SetVariable: async () => ({}),
  SetVariables: async () => ({}),
  DeleteVariable: async () => ({}),
  CloseWorkflow: async () => ({}),
  RequestCancel: async () => ({}),
  RevokeApiKey: async () => ({}),
  CloseSession: async () => ({}),
  CreateWorkflow: async () => ({}),
  CreateApiKey: async () => ({}),
  RotateSigningKey: async () => ({ retireOlder: true }),
  CreateTenant: async () => ({ slug: `t${uuidv4().slice(0, 8)}` }),
  CreateMemorySpace: async () => ({ space: `s${uuidv4().slice(0, 8)}` }),
  async DeleteWorkflowTree({ workflowId }) {
    await server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
    return {};
  },
};

const bytesOf = ({ input }: DescMethod, init: object, { bare }: Way): Buffer => {
  const message = toBinary(input, create(input, init as Record<string, unknown>));
  return bare ? Buffer.from(message) : envelope(message);
};

/** A credential that may do it. */
const keyFor = (method: DescMethod) => {
  const { role, admin } = accessTable[nameOf(method)] ?? {};
  return role === undefined && admin ? adminKey : server.acme.key;
};

const isDone = ({ status, body }: Answer, { bare }: Way) =>
  status === 200 && (bare || body.charCodeAt(0) === 0);

/** Without what differs from call to call: ids, secrets and times; of statistics, every number. */
function mask(method: DescMethod, way: Way): (answer: Answer) => unknown {
  return (answer) => {
    if (!isDone(answer, way)) return answer;
    const body = Buffer.from(answer.body, "latin1");
    const end = way.bare ? body.byteLength : 5 + body.readUInt32BE(1);
    const bytes = body.subarray(way.bare ? 0 : 5, end);
    const message = fromBinary(method.output, bytes);
    expect(Buffer.from(toBinary(method.output, message)).equals(bytes)).toBe(true);
    const { "content-length": length, ...headers } = answer.headers;
    if (way.bare) expect(length).toBe(String(bytes.byteLength));
    const rest = body.subarray(end).toString("latin1");
    return { ...answer, headers, body: masked(message, method.name === "GetStats"), rest };
  };
}

function masked(value: unknown, isStatistics: boolean): unknown {
  if (typeof value === "string") {
    return value.replaceAll(
      /[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}|key_[\w-]+|trib_[\w-]+|^[\w.-]{60,}$|^[st][\da-f]{8}$|^[\da-f]{16}$/g,
      "…",
    );
  }
  if (typeof value === "bigint") return isStatistics || value > 10n ** 12n ? 0n : value;
  if (typeof value === "number") return isStatistics ? 0 : value;
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((one) => masked(one, isStatistics));
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) => [masked(name, false), masked(one, isStatistics)]),
  );
}

describe.each(ofUnary)("every RPC over %s", (_name, way) => {
  const compareAll = async (caseOf: (method: DescMethodUnary) => Case | undefined) => {
    for (const method of methods) {
      const one = caseOf(method);
      if (one === undefined) continue;
      await compare(
        { url: server.url, key: keyFor(method) },
        way,
        pathOf(method),
        one,
        mask(method, way),
      ).catch((error: Error) => {
        error.message = `${nameOf(method)}: ${error.message}`;
        throw error;
      });
    }
  };
  const request = (init: (method: DescMethod) => object, headers?: Record<string, string>) => {
    return (method: DescMethod): Case => ({
      body: () => bytesOf(method, init(method), way),
      ...(headers && { headers }),
    });
  };

  test("is refused alike without a credential", () =>
    compareAll(request((method) => requestFor(method, own), { authorization: "" })));

  test("is refused alike with a wrong one", () =>
    compareAll(request((method) => requestFor(method, own), { authorization: "Bearer trib_wrong" })));

  test("is refused, or done, alike with a stream token", () =>
    compareAll(request((method) => requestFor(method, own), { authorization: `Bearer ${token}` })));

  test("is refused alike for what is not there", () =>
    compareAll((method) =>
      ["CreateTenant", "CreateWorkflow", "CreateMemorySpace", "RotateSigningKey"].includes(method.name)
        ? undefined
        : request((one) => requestFor(one, unknown))(method),
    ));

  test("is refused alike for bytes that are no message", () =>
    compareAll(() => {
      const broken = Buffer.from([0xff, 0xff, 0xff]);
      return { body: () => (way.bare ? broken : envelope(broken)), isOdd: true };
    }));

  test("is refused alike for an empty message, where that is no request", () =>
    compareAll((method) =>
      isValid(method.input, create(method.input) as Message)
        ? undefined
        : { ...request(() => ({}))(method), isOdd: true },
    ));

  test.each(methods.map((method) => [nameOf(method), method] as const))(
    "%s is done alike",
    async (_, method) => {
      const prepare = onceOnly[method.name];
      const body = async () => {
        if (prepare === undefined) return bytesOf(method, requestFor(method, own), way);
        const subjects = await newSubjects();
        return bytesOf(method, { ...requestFor(method, subjects), ...(await prepare(subjects)) }, way);
      };
      const headers = { "grpc-timeout": "9S", "connect-timeout-ms": "9000" };
      const key = keyFor(method);
      const answer = await compare(
        { url: server.url, key },
        way,
        pathOf(method),
        { body, headers },
        mask(method, way),
      );
      expect(isDone(answer, way)).toBe(true);
      if (isHealth(method)) return;
      ({ token } = await server.acme.tokens.createStreamToken({ workflowIds: [own.workflowId] }));
    },
  );
});
