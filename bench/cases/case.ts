/**
 * What a case is: contests at some points, each between contenders that do the same work. To compare with something new,
 * add a contender to the contests it can take part in; all contenders of a contest give the same figures.
 */
import type { Bench } from "../bench.ts";
import type { FigureName, Figures } from "../report/figures.ts";

/** How much is run: `full` for results, `quick` for a look, `smoke` to see that the tool works. */
export type Size = "full" | "quick" | "smoke";

export interface Contender {
  readonly name: string;
  /** Why it cannot run here, and the command that changes that; it is left out then, by name. */
  readonly missing?: string | undefined;
  /** One run in fresh processes; ends by itself. */
  run(bench: Bench): Promise<Figures>;
}

export interface Contest {
  /** The load, in words. */
  readonly point: string;
  readonly contenders: readonly Contender[];
}

export interface Case {
  readonly name: string;
  readonly about: string;
  /** Figures in the table; the lines of results hold all. */
  readonly columns: readonly FigureName[];
  /** Memory hardly differs from round to round. */
  readonly oneRoundIsEnough?: true;
  /** Shown below the table, for each contest that has both contenders. */
  readonly ratios?: readonly {
    readonly of: string;
    readonly to: string;
    readonly figures: readonly FigureName[];
  }[];
  contests(size: Size, wishes?: Wishes): readonly Contest[];
}

/** What can be asked for beyond a size. */
export interface Wishes {
  /** Events of the longest stored stream. */
  readonly stored?: number | undefined;
}

export const bySize = <T>(size: Size, choice: Readonly<Record<Size, T>>): T => choice[size];
