/** The README's commands, run as they stand, against a server as `npm start` starts it (on a free port and folder). */
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { npmStart } from "./docs/npm-start.ts";

const readme = await readFile("README.md", "utf8");
const blocks = (language: string) =>
  [...readme.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, "gms"))].map((match) => match[1] ?? "");

test("the first steps work as they stand", { timeout: 120_000 }, async () => {
  const [demo, tests, ...steps] = blocks("sh");
  const inline = /run with `(.+?)`/.exec(readme)?.[1];
  expect(demo).toBe("npm ci && npm run demo\n");
  expect(tests).toBe("npm ci && npm run setup:tests && npm test\n");
  expect(steps.length).toBe(3);

  await using server = await npmStart("readme");
  const stdout = await server.run([...steps, inline].join("\necho ----\n"));
  const [commands, sse, grpc, typescript] = stdout.split("----\n");
  expect(commands).toContain("0198f3a2-6b1c-7d4e-8f90-a1b2c3d4e5f6");
  expect(sse).toMatch(/event: token\nid: 2\ndata: .*"payload":"Hello, world"/);
  expect(sse).toMatch(/event: end\nid: 3\n/);
  expect(grpc).toContain('"text": "Hello, world"');
  expect(grpc).toContain('"status": "WORKFLOW_STATUS_COMPLETED"');
  expect(typescript).toMatch(/2 task-1 Hello, world/);
});

test("the TypeScript client of the README is the example, which is type-checked", async () => {
  expect(blocks("ts")).toEqual([await readFile("examples/follow.ts", "utf8")]);
});

test("the table of what is built names every service", async () => {
  for (const service of ["Workflow", "TaskStream", "EventStream", "Token", "Admin", "Variable", "Memory"]) {
    expect(readme).toMatch(new RegExp(`\\| .*${service}Service.*\\|`));
  }
});
