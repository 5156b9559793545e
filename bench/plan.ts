/**
 * Every run of an invocation in its order: round by round, with the order of the contenders turned round each time. Contenders
 * that lack something are not in it; `leftOut` names them.
 */
import type { Case, Contender, Size, Wishes } from "./cases/case.ts";

export interface PlannedRun {
  readonly case: Case;
  readonly point: string;
  readonly contender: Contender;
  /** From 1. */
  readonly round: number;
}

export function planRuns(
  cases: readonly Case[],
  size: Size,
  rounds: number,
  wishes: Wishes = {},
): PlannedRun[] {
  const runs: PlannedRun[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    for (const one of cases) {
      if (one.oneRoundIsEnough === true && round > 1) continue;
      for (const { point, contenders } of one.contests(size, wishes)) {
        const here = contenders.filter(({ missing }) => missing === undefined);
        const ordered = round % 2 === 1 ? here : here.toReversed();
        for (const contender of ordered) runs.push({ case: one, point, contender, round });
      }
    }
  }
  return runs;
}

/** Each once, with the reason. */
export function leftOut(one: Case, size: Size): string[] {
  const lines = one
    .contests(size)
    .flatMap(({ contenders }) => contenders)
    .flatMap(({ name, missing }) => (missing === undefined ? [] : [`left out: ${name}: ${missing}`]));
  return [...new Set(lines)];
}
