/** A server without a built console. */
import { expect, test } from "vitest";
import { useServer } from "../support/server.ts";

const server = useServer({}, undefined, { consoleFolder: "/there/is/nothing" });

test("says at / which command builds the console, and serves all else", async () => {
  const response = await fetch(`${server.url}/`);
  expect(response.status).toBe(503);
  expect(response.headers.get("content-security-policy")).toContain("default-src 'none'");
  expect(await response.text()).toContain("npm run build:web");
  expect((await fetch(`${server.url}/assets/x.js`)).status).toBe(404);
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
});
