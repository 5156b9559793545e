/** The table of calls in the API guide says what the server says: each RPC, its role, and whether it is built. */
import { createGrpcTransport } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { Role } from "../../gen/tributary/v1/admin_service_pb.ts";
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import { type Rule, ruleOf } from "../../server/auth/access-rules.ts";
import { call, everyRpc, requestFor } from "../api/every-rpc.ts";
import { adminKey, createTenant, useServer } from "../support/server.ts";
import { readPage, rowsOf } from "./pages.ts";

const server = useServer();
const rpcs = await everyRpc();
const rows = rowsOf(readPage("docs/api.md"));
const row = (name: string) => rows.find(([cell = ""]) => cell === name || cell.startsWith(`[${name}]`));
const asGrpc = (key: string) =>
  createGrpcTransport({
    baseUrl: server.url,
    interceptors: [
      (next) => (request) => {
        request.header.set("authorization", `Bearer ${key}`);
        return next(request);
      },
    ],
  });

function needs(rule: Rule | undefined): string {
  if (rule === undefined || rule === "anyone") return "";
  const role = Object.entries(Role).find(([, value]) => value === rule.role)?.[0];
  return [role, rule.admin === true ? "admin" : undefined].filter((part) => part !== undefined).join(" or ");
}

test("each RPC has its row, with the role that it needs and whether a stream token may", () => {
  for (const { name, method } of rpcs) {
    const rule = ruleOf(method.parent.typeName, method.name);
    const token = rule !== "anyone" && rule?.token === true ? "yes" : "";
    expect(row(name)?.slice(1, 3), name).toEqual([needs(rule), token]);
  }
  const said = rows.map(([cell = ""]) => /^\[?(\w+Service\.\w+)/.exec(cell)?.[1]).filter((name) => name);
  expect(said.toSorted()).toEqual(rpcs.map(({ name }) => name).toSorted());
});

test("what works answers, and what does not work yet is UNIMPLEMENTED", async () => {
  const scratch = await createTenant(server.admin, "scratch");
  const { workflow } = await scratch.workflows.createWorkflow({ name: "scratch" });
  const { apiKeyId } = await scratch.admin.createApiKey({});
  const subjects = { workflowId: workflow?.workflowId ?? "", tenantSlug: "scratch", apiKeyId };
  for (const rpc of rpcs) {
    const rule = ruleOf(rpc.method.parent.typeName, rpc.method.name);
    const byAdmin = rule !== "anyone" && rule?.admin === true;
    const answer = await call(
      asGrpc(byAdmin ? adminKey : scratch.key),
      rpc,
      requestFor(rpc.method, subjects),
    );
    const works = row(rpc.name)?.[3];
    expect([works, answer === "Unimplemented"], `${rpc.name}: ${answer}`).toEqual(
      answer === "Unimplemented" ? ["not yet", true] : ["works", false],
    );
  }
});

test("the table of errors has the HTTP statuses that calls in JSON get", async () => {
  const post = async (path: string, body: object, key = server.acme.key) => {
    const response = await fetch(`${server.url}/tributary.v1.${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const { code = "" } = (await response.json()) as { code?: string };
    return [code.toUpperCase(), response.status];
  };
  const { workflow } = await server.acme.workflows.createWorkflow({ name: "errors" });
  const workflowId = workflow?.workflowId ?? "";
  const met = [
    await post("WorkflowService/GetWorkflow", { workflowId }, "trib_none"),
    await post("WorkflowService/GetWorkflow", { workflowId }, server.globex.key),
    await post("WorkflowService/GetWorkflow", { workflowId: crypto.randomUUID() }),
    await post("WorkflowService/GetWorkflow", { workflowId: "x" }),
    await post("WorkflowService/CreateWorkflow", { workflowId, name: "other" }),
    await post("WorkflowService/DeleteWorkflowTree", { workflowId }),
    await post("EventStreamService/ReadEvents", { workflowId, cursor: "99" }),
    await post("AdminService/NoSuchMethod", {}),
    await post("WorkflowService/CreateWorkflow", { name: "n".repeat(4 * 1024 * 1024) }),
  ];
  expect(met.map(([code]) => code)).toEqual([
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "NOT_FOUND",
    "INVALID_ARGUMENT",
    "ALREADY_EXISTS",
    "FAILED_PRECONDITION",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "RESOURCE_EXHAUSTED",
  ]);
  for (const [code, status] of met) expect(row(String(code))?.[1], String(code)).toMatch(`${status}`);
});

test("the table of event types in the concepts has every type's number and name", () => {
  const text = rowsOf(readPage("docs/concepts.md")).map((cells) => cells.join(" "));
  for (const [name, number] of Object.entries(EventType)) {
    if (number === EventType.UNSPECIFIED || number >= 30) continue;
    const range = number >= 21 && number <= 23 ? "21–23" : String(number);
    expect(text.find((line) => line.startsWith(`${range} `))).toContain(`\`${name}\``);
  }
});
