/** The stack of these tests and the server's own must not grow apart. */
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";

/** The adapter's options as the source has them, without comments, spaces, and what must differ. */
async function optionsIn(file: string): Promise<string[]> {
  const source = await readFile(file, "utf8");
  const options = /connectNodeAdapter\(\{(.*?)\n\s*\}\)/s.exec(source)?.[1];
  if (options === undefined) throw new Error(`${file}: no connectNodeAdapter`);
  return options
    .replaceAll(/\/\/.*/g, "")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !/^(routes|requestGate|contextValues):/.test(line));
}

test("the drill is served with the options of production", async () => {
  const production = await optionsIn("server/start/serve-rpcs.ts");
  expect(production.length).toBeGreaterThan(3);
  expect(await optionsIn("test/conformance/stack.ts")).toEqual(production);
});
