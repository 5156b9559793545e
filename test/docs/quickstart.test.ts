/** The quickstart's commands, run as they stand, terminal by terminal. */
import { expect, test } from "vitest";
import { until } from "../support/until.ts";
import { npmStart } from "./npm-start.ts";
import { blocksIn } from "./pages.ts";

test("the quickstart works as it stands: what is written appears in a terminal and for a page, until all is closed", {
  timeout: 120_000,
}, async () => {
  const [install, watch = "", write = "", page = "", close = "", read = "", ...rest] = blocksIn(
    "docs/quickstart.md",
    "sh",
  );
  expect(install).toBe("npm ci\nnpm start\n");
  expect(rest).toEqual([]);
  expect(page).toContain(" 3000\n");

  await using server = await npmStart("quickstart");
  const second = server.start(watch);
  await until(() => expect(second.output).toContain("quickstart"), 30_000);
  await server.run(write);
  await until(() => {
    for (const text of ["Once upon a time", "50 %", "search", "there was", "a stream."])
      expect(second.output).toContain(text);
  });

  const fourth = server.start(page.replace(" 3000\n", " 0\n"));
  const address = await until(() => {
    const found = /Open (http:\S+)/.exec(fourth.output)?.[1];
    if (found === undefined) throw new Error(`no address: ${fourth.output}`);
    return found;
  }, 30_000);
  expect(await (await fetch(address)).text()).toContain("EventSource");
  const streamUrl = (await (await fetch(`${address}stream-url`)).json()) as string;
  const stream = (await fetch(streamUrl)).text(); // ends when the tree does

  // The third terminal still knows the variables of its first block.
  const variables = write.split("\n").slice(0, 2).join("\n");
  await server.run(`${variables}\n${close}`);
  expect(await second.ended).toBe(0);
  const seenByPage = await stream;
  expect(seenByPage).toContain('"payload":"Once upon a time "');
  expect(seenByPage).toMatch(/event: end\n/);

  const again = await server.run(`${variables}\n${read}`);
  expect(again).not.toContain("Once upon a time");
  expect(again).toContain("a stream.");
  expect(again).toMatch(/event: end\n/);
});
