/** However a server is started as the documentation says, Node gets the same flags. */
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { nodeFlags } from "../../cli/node-flags.ts";

const flags = nodeFlags.join(" ");

test.each(["start", "demo", "tributary"])("npm run %s has them", async (script) => {
  const { scripts } = JSON.parse(await readFile("package.json", "utf8"));
  expect(scripts[script]).toMatch(new RegExp(`^node ${flags} cli/main\\.ts`));
});

test("the command has them", async () => {
  const [first] = (await readFile("cli/main.ts", "utf8")).split("\n");
  expect(first).toBe(`#!/usr/bin/env -S node ${flags}`);
});

test("the image has them", async () => {
  const command = /^CMD (\[.*\])$/m.exec(await readFile("Dockerfile", "utf8"))?.[1] ?? "[]";
  expect(JSON.parse(command)).toEqual(["node", ...nodeFlags, "cli/main.ts", "serve"]);
});
