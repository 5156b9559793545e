/** Every run of an invocation in its order: round by round, with the order of the contenders turned round each time. */
import type { Case, Contender, Size } from "./cases/case.ts";

export interface PlannedRun {
  readonly case: Case;
  readonly point: string;
  readonly contender: Contender;
  /** From 1. */
  readonly round: number;
}

export function planRuns(cases: readonly Case[], size: Size, rounds: number): PlannedRun[] {
  const runs: PlannedRun[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    for (const one of cases) {
      if (one.oneRoundIsEnough === true && round > 1) continue;
      for (const { point, contenders } of one.contests(size)) {
        const ordered = round % 2 === 1 ? contenders : contenders.toReversed();
        for (const contender of ordered) runs.push({ case: one, point, contender, round });
      }
    }
  }
  return runs;
}
