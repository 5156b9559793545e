/** docs/coverage.md claims nothing without a test, and names tests that exist (as docs/spec.md, see test/spec.test.ts). */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { readPage, rowsOf } from "./pages.ts";

const page = readPage("docs/coverage.md");
const rows = rowsOf(page).map(([id = "", , , state = "", missing = ""]) => ({ id, state, missing }));
/** The tests listed under the number of a row. */
const listed = new Map(
  [...page.matchAll(/^\*\*([A-Z]\d+)\*\*\n\n((?:- .+\n)+)/gm)].map(([, id = "", list = ""]) => [
    id,
    [...list.matchAll(/^- `(.+?)` › (.+)$/gm)].map(([, file = "", name = ""]) => ({ file, name })),
  ]),
);

test("every test that is named exists", () => {
  for (const [id, tests] of listed) {
    for (const { file, name } of tests) {
      expect(readFileSync(file, "utf8").includes(name), `${id}: ${file} › ${name}`).toBe(true);
    }
  }
});

test("what works is shown by tests, what works in part says what is missing, and the rest claims nothing", () => {
  for (const { id, state, missing } of rows) {
    const tests = listed.get(id)?.length ?? 0;
    if (state === "works") expect([id, tests > 0, missing]).toEqual([id, true, ""]);
    else if (state === "partly") expect([id, tests > 0, missing !== ""]).toEqual([id, true, true]);
    else expect([id, state, tests]).toEqual([id, "not yet", 0]);
  }
  expect([...listed.keys()].filter((id) => rows.every((row) => row.id !== id))).toEqual([]);
});

test("the numbers in the first paragraph are those of the rows", () => {
  const count = (state: string) => rows.filter((row) => row.state === state).length;
  const said = /Of\s\d+\srows.+?yet\./s.exec(page)?.[0].replaceAll("\n", " ");
  expect(said).toBe(
    `Of ${rows.length} rows ${count("works")} work, ${count("partly")} work in part, ${count("not yet")} do not yet.`,
  );
});
