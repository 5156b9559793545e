/** A bug is INTERNAL with its text hidden; only the database's absence is UNAVAILABLE. */
import { Code } from "@connectrpc/connect";
import { DrizzleQueryError } from "drizzle-orm";
import { expect, test } from "vitest";
import { createPool } from "../../db/pool.ts";
import { DomainError } from "../../server/core/errors.ts";
import { toConnectError } from "../../server/rpc/error-mapping.ts";

const logged: unknown[] = [];
const map = (error: unknown) => toConnectError(error, (_, bug) => logged.push(bug));

test("a plain error is a bug: it is hidden from the caller and goes to the log under an id", () => {
  const bug = new Error("secret detail");
  const mapped = map(bug);
  expect(mapped.code).toBe(Code.Internal);
  expect(mapped.message).not.toContain("secret");
  expect(logged.at(-1)).toBe(bug);
});

test("an absent database is UNAVAILABLE, also behind a query builder's wrapper", async () => {
  const options = { poolSize: 1, connectTimeoutMs: 1000, statementTimeoutMs: 1000, onError: () => {} };
  const pool = createPool({ ...options, url: "postgres://127.0.0.1:1/nothing" });
  const error = await pool.query("select 1").catch((failure: Error) => failure);
  expect(map(error).code).toBe(Code.Unavailable);
  expect(map(new DrizzleQueryError("select 1", [], error as Error)).code).toBe(Code.Unavailable);
  await pool.end();
});

test("a refusal says when to try again", () => {
  const mapped = map(new DomainError("resource_exhausted", "full", { retryAfterMs: 1500 }));
  expect(mapped.code).toBe(Code.ResourceExhausted);
  expect(mapped.details).toMatchObject([{ value: { retryDelay: { seconds: 1n, nanos: 500_000_000 } } }]);
});

test("a client that leaves in the middle of its message is no bug", () => {
  const broken = Object.assign(new Error("Premature close"), { code: "ERR_STREAM_PREMATURE_CLOSE" });
  const logged: unknown[] = [];
  expect(toConnectError(broken, (...bug) => logged.push(bug)).code).toBe(Code.Canceled);
  expect(logged).toEqual([]);
});
