/** docs/operations/access.md shows the table that the server is compared with in test/api/access-matrix.test.ts. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { accessPage, page, tablesIn, unaligned } from "./access-page.ts";

test("the page of the access matrix has the rows that the descriptors and the table give", async () => {
  const found = unaligned(tablesIn(readFileSync(page, "utf8")));
  expect(found.split("\n"), `write them: npm exec -- node test/docs/access-page.ts`).toEqual(
    unaligned(await accessPage()).split("\n"),
  );
});
