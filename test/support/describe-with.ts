/** Tests that need a program: where it is missing they are skipped by name, with the reason. In CI a skip is a failure. */
import { describe } from "vitest";
import type { Tool } from "./tools.ts";

export function describeWith(tool: Tool, name: string, tests: () => void): void {
  const isMissing = tool.missing !== undefined;
  describe.skipIf(isMissing)(isMissing ? `${name} (skipped: ${tool.missing})` : name, tests);
}
