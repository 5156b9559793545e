/** Pictures for docs/console.md, taken on the way by tests: only with `npm run pictures`, so that tests leave the files as they are. */
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";

const folder = fileURLToPath(new URL("../../docs/console/", import.meta.url));

export const wantsPictures = process.env["TRIBUTARY_PICTURES"] === "1";

export async function takePicture(page: Page, name: string): Promise<void> {
  if (!wantsPictures) return;
  await mkdir(folder, { recursive: true });
  await page.screenshot({ path: `${folder}${name}.png` });
}
