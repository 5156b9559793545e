/** The table of settings for docs/operations/settings.md, from the settings themselves; a test compares the two. */
import { settings } from "../server/config.ts";

export function settingsTable(): string {
  const rows = Object.entries(settings).map(([name, { schema, allowed, about }]) => {
    const parsed = schema.safeParse(undefined);
    const value = parsed.success && parsed.data !== undefined ? `\`${JSON.stringify(parsed.data)}\`` : "—";
    return `| \`${name}\` | ${about} | ${allowed} | ${value} |`;
  });
  return ["| setting | what | allowed | default |", "|---|---|---|---|", ...rows].join("\n");
}

if (import.meta.main) console.log(settingsTable());
