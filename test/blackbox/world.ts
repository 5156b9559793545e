/** What the black-box tests share: credentials by role, refusals as code and words, and requests spelt out byte by byte. */
import { create, type JsonValue } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectError } from "@connectrpc/connect";
import { expect } from "vitest";
import type { Role } from "../../gen/tributary/v1/admin_service_pb.ts";
import { errorOf } from "../api/codes.ts";
import type { Clients, TestServer } from "../support/server.ts";

/** Clients of a new key of this tenant with these roles. */
export async function keyOf(server: TestServer, roles: Role[], tenantSlug = "acme"): Promise<Clients> {
  const { key } = await server.admin.admin.createApiKey({ tenantSlug, roles });
  return server.clients(key);
}

/** Clients of a stream token for these subtrees. */
export async function tokenOf(
  server: TestServer,
  workflowIds: string[],
  includeVariables: boolean,
): Promise<Clients> {
  const { token } = await server.acme.tokens.createStreamToken({ workflowIds, includeVariables });
  return server.clients(token);
}

/** The call fails with this code, and its message has these words. */
export async function refused(
  call: Promise<unknown> | AsyncIterable<unknown>,
  code: keyof typeof Code,
  ...words: string[]
): Promise<ConnectError> {
  const error = await errorOf(call);
  expect(`${Code[error.code]}: ${error.message}`).toMatch(new RegExp(`^${code}: `));
  for (const word of words) expect(error.message).toContain(word);
  return error;
}

/** A number as a Value that JSON cannot say. */
export const double = (value: number): Value => create(ValueSchema, { kind: { case: "numberValue", value } });

export const text = (value: string): Value => create(ValueSchema, { kind: { case: "stringValue", value } });

/** A unary Connect call whose JSON is written by hand. */
export async function post(
  { url, key }: Clients,
  method: string,
  body: string | Uint8Array<ArrayBuffer>,
  contentType = "application/json",
): Promise<{ status: number; body: { code?: string; message?: string } & Record<string, JsonValue> }> {
  const response = await fetch(`${url}/tributary.v1.${method}`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": contentType },
    body,
  });
  const answer = await response.text();
  return { status: response.status, body: answer.startsWith("{") ? JSON.parse(answer) : { answer } };
}

/** A JSON value nested this deep. */
export function nested(depth: number): JsonValue {
  let value: JsonValue = 1;
  for (let level = 0; level < depth; level++) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}
