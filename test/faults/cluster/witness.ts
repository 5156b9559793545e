/** What went wrong in the eyes of clients, and what was done to the cluster when. */
import { Code, ConnectError } from "@connectrpc/connect";
import { isFromServer } from "../../../client/resilience/errors.ts";

/** What a server may say while things around it are broken: try again. */
const excusable: ReadonlySet<Code> = new Set([
  Code.Unavailable,
  Code.ResourceExhausted,
  Code.DeadlineExceeded,
  Code.Canceled,
]);

/** More would only repeat. */
const mostProblems = 200;

export class Witness {
  readonly problems: string[] = [];
  readonly log: string[] = [];
  /** How often what was said, for the report. */
  readonly counts = new Map<string, number>();
  readonly #beganMs = Date.now();

  /** Since the beginning, as "12.3 s". */
  get time(): string {
    return `${((Date.now() - this.#beganMs) / 1000).toFixed(1)} s`;
  }

  blame(who: string, problem: string): void {
    if (this.problems.length < mostProblems) this.problems.push(`${this.time} ${who}: ${problem}`);
  }

  note(line: string): void {
    this.log.push(`${this.time} ${line}`);
  }

  count(what: string, by = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + by);
  }

  /**
   * A call failed: is it worth another try? A broken connection and what excuses itself is; what a server says beside that
   * (INTERNAL, OUT_OF_RANGE, NOT_FOUND …) is a problem, unless the caller expects it.
   */
  excuses(who: string, error: unknown, expected: readonly Code[] = []): boolean {
    if (!(error instanceof ConnectError)) {
      this.blame(who, `a bug of this suite: ${(error as Error).stack}`);
      return false;
    }
    if (!isFromServer(error)) {
      this.count("broken connections");
      return true;
    }
    this.count(`${Code[error.code]} from a server`);
    if (excusable.has(error.code)) return true;
    if (!expected.includes(error.code)) this.blame(who, `${Code[error.code]}: ${error.rawMessage}`);
    return false;
  }
}
