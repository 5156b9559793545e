/** Versions of each variable are 1, 2, 3 …; each change that was told is there once and whole, each refused one is not. */
import { EventType } from "../../../gen/tributary/v1/event_pb.ts";
import type { Truth } from "./truth.ts";
import type { VariableWriter } from "./variable-writer.ts";

interface Found {
  readonly offset: number;
  readonly name: string;
  readonly version: number;
}

export function checkVariables(truth: Truth, writers: readonly VariableWriter[]): string[] {
  const problems: string[] = [];
  const bySource = new Map<string, Found[]>();
  for (const { rows } of truth.streams) {
    const versions = new Map<string, number>();
    for (const { offset, workflowId, type, text } of rows) {
      if (type !== EventType.VARIABLE_SET && type !== EventType.VARIABLE_DELETED) continue;
      const { name, version, source } = JSON.parse(text) as Omit<Found, "offset"> & { source: string };
      const key = `${workflowId} ${name}`;
      const next = (versions.get(key) ?? 0) + (type === EventType.VARIABLE_SET ? 1 : 0);
      if (version !== next)
        problems.push(`variable ${key}: version ${version} at ${offset}, expected ${next}`);
      versions.set(key, next);
      bySource.set(source, [...(bySource.get(source) ?? []), { offset, name, version }]);
    }
  }
  for (const { changes } of writers) {
    for (const { source, names, outcome } of changes) {
      const found = bySource.get(source) ?? [];
      bySource.delete(source);
      const told = `change ${source} of ${names}, ${JSON.stringify(outcome)}`;
      if (new Set(found.map(({ name }) => name)).size !== found.length)
        problems.push(`${told}: stored twice`);
      if (found.length !== 0 && found.length !== names.length)
        problems.push(`${told}: ${found.length} of ${names.length} are stored`);
      if (outcome === "refused" && found.length > 0) problems.push(`${told}: stored at ${found[0]?.offset}`);
      if (typeof outcome !== "object") continue;
      if (found[0]?.offset !== outcome.offset) problems.push(`${told}: stored at ${found[0]?.offset}`);
      const versions = found.map(({ version }) => version).join();
      if (outcome.versions.length > 0 && outcome.versions.join() !== versions)
        problems.push(`${told}: stored with versions ${versions}`);
    }
  }
  for (const source of bySource.keys()) problems.push(`nobody made the change ${source}`);
  return problems;
}
