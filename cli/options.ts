/** What several commands take as text: checked here, so that a typo is wrong usage and never reaches the server. */
import { InvalidArgumentError } from "commander";
import { SystemEventType } from "../gen/tributary/v1/admin_service_pb.ts";
import { EventType } from "../gen/tributary/v1/event_pb.ts";

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function toUuid(text: string): string {
  if (!uuid.test(text)) throw new InvalidArgumentError("It must be a UUID.");
  return text.toLowerCase();
}

export const toWholeNumber =
  (min: number, max: number) =>
  (text: string): number => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };

export const toOffset = toWholeNumber(0, Number.MAX_SAFE_INTEGER);

/** A parser of one name of an enum. */
export const toOneOf =
  <T extends number>(names: readonly string[], values: Readonly<Record<string, string | number>>) =>
  (text: string): T => {
    const name = text.toUpperCase();
    if (names.includes(name)) return values[name] as T;
    throw new InvalidArgumentError(`It must be one of ${names.join(", ")}.`);
  };

const namesOf = (values: object): string[] =>
  Object.keys(values).filter((name) => /^[A-Z]/.test(name) && name !== "UNSPECIFIED");
const eventTypeNames = namesOf(EventType);
/** What workers may write. */
export const taskEventTypeNames = eventTypeNames.filter((name) => EventType[name as "TOKEN"] < 20);

export const toEventType = toOneOf<EventType>(eventTypeNames, EventType);
export const toTaskEventType = toOneOf<EventType>(taskEventTypeNames, EventType);

export const toSystemEventType = toOneOf<SystemEventType>(namesOf(SystemEventType), SystemEventType);

/** Names separated by commas. */
export const toList =
  <T>(parse: (text: string) => T) =>
  (text: string): T[] =>
    text
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== "")
      .map(parse);

/** `key=value`, gathered over repetitions. */
export function toMetadata(
  text: string,
  before: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("It must have the form key=value.");
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}
