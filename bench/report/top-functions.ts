/** Where the time of a CPU profile went: the functions with the most time of their own, and the parts they belong to. */
import { fileURLToPath } from "node:url";
import type { CpuProfile } from "../measure/profiler.ts";

const shown = { functions: 20, parts: 12 };
const root = fileURLToPath(new URL("../../", import.meta.url));

type Frame = CpuProfile["nodes"][number]["callFrame"];

export function topFunctions(profile: CpuProfile): string {
  const byFunction = selfTimes(profile, toName);
  const parts = selfTimes(profile, toPart).slice(0, shown.parts);
  return [
    ...byFunction
      .slice(0, shown.functions)
      .map(({ name, us, share }) => `${percent(share)}  ${(us / 1000).toFixed(0).padStart(6)} ms  ${name}`),
    `by part: ${parts.map(({ name, share }) => `${name} ${percent(share).trim()}`).join(", ")}`,
  ].join("\n");
}

function selfTimes({ nodes, samples = [], timeDeltas = [] }: CpuProfile, nameOf: (frame: Frame) => string) {
  // The profiler's own start is in it.
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const selfUs = new Map<string, number>();
  let total = 0;
  for (const [i, id] of samples.entries()) {
    const frame = frames.get(id);
    if (frame === undefined || frame.url.startsWith("node:inspector")) continue;
    const us = timeDeltas[i] ?? 0;
    total += us;
    const name = nameOf(frame);
    selfUs.set(name, (selfUs.get(name) ?? 0) + us);
  }
  return [...selfUs]
    .sort(([, a], [, b]) => b - a)
    .map(([name, us]) => ({ name, us, share: us / Math.max(1, total) }));
}

const percent = (share: number) => `${(share * 100).toFixed(1).padStart(6)} %`;

function toName({ functionName, url, lineNumber }: Frame): string {
  const name = functionName === "" ? "(anonymous)" : functionName;
  return url === "" ? name : `${name}  ${toFile(url).replace(/^node_modules\//, "")}:${lineNumber + 1}`;
}

/** A package, a folder of two levels, Node itself, or what V8 and the system did. */
function toPart({ functionName, url }: Frame): string {
  if (url === "") return functionName.startsWith("(") ? functionName : "native";
  if (url.startsWith("node:")) return "node";
  const found = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1];
  return found ?? toFile(url).split("/").slice(0, 2).join("/");
}

const toFile = (url: string): string =>
  url.startsWith("file:") ? fileURLToPath(url).replace(root, "") : url;
