/** /metrics as a scraper sees it. */
import { expect } from "vitest";

/** Value by name with labels, as `name{label="value"}`. */
export type Scrape = ReadonlyMap<string, number>;

export async function scrape(url: string): Promise<Scrape> {
  const answer = await fetch(`${url}/metrics`);
  expect([answer.status, answer.headers.get("content-type")]).toEqual([
    200,
    "text/plain; version=0.0.4; charset=utf-8",
  ]);
  return parse(await answer.text());
}

export function parse(text: string): Scrape {
  const found = new Map<string, number>();
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const [, name = "", value = ""] = /^(\S+?(?:\{.*\})?) (\S+)$/.exec(line) ?? [];
    expect(name, line).not.toBe("");
    expect(found.has(name), `${name} twice`).toBe(false);
    found.set(name, Number(value));
  }
  return found;
}

/** What these are now, less what they were before; absent is NaN, which equals nothing. */
export const risen = (before: Scrape, now: Scrape, names: readonly string[]): Record<string, number> =>
  Object.fromEntries(
    names.map((name) => [name, (now.get(name) ?? Number.NaN) - (before.get(name) ?? Number.NaN)]),
  );

/** Metric names, without the suffixes of histograms. */
export const namesOf = (text: string): string[] =>
  [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name = ""]) => name);
