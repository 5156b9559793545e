/** Many inputs at once against one server, each judged; the figures of a run, and the first failures with how to repeat them. */
import { inputOf } from "./generate.ts";
import { type Input, show } from "./input.ts";
import { judge, type Verdict } from "./judge.ts";
import type { Outcome, Sender } from "./send.ts";
import type { Stored } from "./stored.ts";

export interface Figures {
  readonly byTarget: Map<string, number>;
  /** Code by target: how often. */
  readonly codes: Map<string, number>;
  /** RPCs that were answered with OK, or a stream that goes on. */
  readonly reached: Set<string>;
  readonly failures: string[];
  /** Those that took longest, ms. */
  slowest: { readonly ms: number; readonly what: string }[];
}

export const emptyFigures = (): Figures => ({
  byTarget: new Map(),
  codes: new Map(),
  reached: new Set(),
  failures: [],
  slowest: [],
});

const mostFailures = 12;
const atOnce = 24;

export interface Running {
  /** What is being sent right now, for a step of the event loop that was too long. */
  readonly now: ReadonlySet<string>;
  readonly done: Promise<void>;
}

/** Inputs `from` to `to` of a seed. Ends early when there are failures enough to look at. */
export function runInputs(
  { sender, stored }: { readonly sender: Sender; readonly stored: Stored },
  seed: number,
  [from, to]: readonly [number, number],
  figures: Figures,
): Running {
  const now = new Set<string>();
  let next = from;
  const work = async () => {
    while (next < to && figures.failures.length < mostFailures) {
      const number = next++;
      const input = inputOf(seed, number);
      const name = `${seed}:${number}`;
      now.add(name);
      try {
        await runOne(sender, stored, input, `TRIBUTARY_FUZZ=${name}`, figures);
      } finally {
        now.delete(name);
      }
    }
  };
  return { now, done: Promise.all(Array.from({ length: atOnce }, work)).then(() => {}) };
}

export async function runOne(
  sender: Sender,
  stored: Stored,
  input: Input,
  repeat: string,
  figures: Figures,
): Promise<Verdict> {
  const outcome = await sender.send(input);
  const verdict = judge(input, outcome);
  count(figures, input, verdict, outcome);
  if (verdict.problem !== undefined) {
    figures.failures.push(
      `${repeat}\n  ${verdict.problem.slice(0, 500)}\n  ${show(input)}\n  ${showOutcome(outcome)}`,
    );
  }
  if (input.kind === "call" && verdict.code === "OK") stored.note(input, verdict.answers ?? []);
  return verdict;
}

function count(figures: Figures, input: Input, { code }: Verdict, { ms }: Outcome): void {
  const add = (map: Map<string, number>, key: string) => map.set(key, (map.get(key) ?? 0) + 1);
  add(figures.byTarget, input.target);
  add(figures.codes, code);
  if (code === "OK" || code === "live") figures.reached.add(input.target);
  if (ms < 500) return;
  figures.slowest.push({ ms: Math.round(ms), what: `${input.target} ${input.note} ${code}` });
  figures.slowest = figures.slowest.toSorted((a, b) => b.ms - a.ms).slice(0, 10);
}

const showOutcome = ({ kind, status, headers, trailers, body, why }: Outcome): string =>
  JSON.stringify({ kind, status, headers, trailers, why, body: body.subarray(0, 300).toString("latin1") });
