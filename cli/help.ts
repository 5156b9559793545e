/** How examples look in every help text: what they do, then what to type. */
import type { Command } from "commander";

/** Each: what to type, and what it does. */
export function withExamples(
  command: Command,
  ...examples: readonly (readonly [type: string, does: string])[]
): Command {
  const lines = examples.map(([type, does]) => `  # ${does}\n  $ ${type}`);
  return command.addHelpText("after", `\nExamples:\n${lines.join("\n")}`);
}
