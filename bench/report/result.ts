/** One run as it was: one line of NDJSON, appended when it is known, so that a run that is broken off loses nothing. */
import { appendFileSync, mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import type { Environment } from "../environment.ts";
import type { Figures } from "./figures.ts";

export interface Result {
  readonly case: string;
  readonly point: string;
  readonly contender: string;
  readonly round: number;
  /** Of the measuring phase, as asked for. */
  readonly seconds: number;
  readonly figures: Figures;
  /** Why there are none. */
  readonly error?: string;
  readonly date: string;
  readonly environment: Environment;
}

export function appendResult(file: string, result: Result): void {
  mkdirSync(dirname(file), { recursive: true });
  appendFileSync(file, `${JSON.stringify(result)}\n`);
}

export const readResults = (file: string): Result[] =>
  readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Result);
