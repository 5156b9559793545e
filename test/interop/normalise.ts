/**
 * Makes answers of two runs comparable and loses nothing else: ids become their names in the script, moments become
 * "<now>" if they are of this hour (a wrong one stays and shows), and batches that follow each other become one, since how
 * events are batched is not promised.
 */
import type { Json } from "./driver.ts";

const hourMs = 3_600_000;

export type Names = Readonly<Record<string, string>>;

export function normalise(value: unknown, names: Names): unknown {
  if (Array.isArray(value)) return value.map((item) => normalise(item, names));
  if (typeof value === "string") return named(value, names);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([field, content]) => [
      field,
      momentOf(field, content) ?? normalise(content, names),
    ]),
  );
}

function named(text: string, names: Names): string {
  let result = text;
  for (const [name, id] of Object.entries(names)) if (id !== "") result = result.replaceAll(id, `<${name}>`);
  return result;
}

/** 64-bit numbers are strings in the JSON of protobuf: a number here is a client's mistake and stays. */
function momentOf(field: string, content: unknown): string | undefined {
  if (typeof content !== "string") return undefined;
  const isMoment = field.endsWith("Ms") || field === "epoch";
  return isMoment && Math.abs(Number(content) - Date.now()) < hourMs ? "<now>" : undefined;
}

/** The messages of a subscription, in order. Silence is not compared. */
export function subscription(responses: readonly Json[], names: Names): unknown[] {
  const messages: { events?: { events: unknown[] } }[] = [];
  for (const response of responses) {
    const message = normalise(response["message"], names) as { events?: { events: unknown[] } };
    if ("heartbeat" in message) continue;
    const last = messages.at(-1);
    if (message.events !== undefined && last?.events !== undefined)
      last.events.events.push(...message.events.events);
    else messages.push(message);
  }
  return messages;
}
