/**
 * Loaded into a server before anything else (`--import`): runs it from sources that are broken on purpose, without a trace
 * of that in the product. TEST_PATCHES is a JSON list of `{file, line, with}`; each line must be in its file exactly once, else
 * the server does not start.
 */
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import type { Patch } from "../broken-build.ts";

const root = new URL("../../../../", import.meta.url);
const patches = JSON.parse(process.env["TEST_PATCHES"] ?? "[]") as Patch[];
const sources = new Map<string, string>();

for (const { file, line, with: replacement } of patches) {
  const url = new URL(file, root);
  const source = sources.get(url.href) ?? readFileSync(url, "utf8");
  const parts = source.split(line);
  if (parts.length !== 2) {
    throw new Error(
      `${file}: the line to break must be there once, found ${parts.length - 1} times: ${line}`,
    );
  }
  sources.set(url.href, parts.join(replacement));
}

registerHooks({
  load(url, context, nextLoad) {
    const source = sources.get(url);
    if (source === undefined) return nextLoad(url, context);
    return { format: "module-typescript", source, shortCircuit: true };
  },
});
