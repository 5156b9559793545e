/**
 * Counts what watchers of variables are told, how late it is, and that nothing is lost: each update of a variable must be
 * the next version, or say how many older ones it stands for.
 */
import { nowUs } from "../measure/clock.ts";
import { Latencies, type LatencySummary } from "../measure/latencies.ts";
import { type ReadUpdate, readUpdates } from "../wire/variable-updates.ts";

export interface Watched {
  readonly updates: number;
  readonly messages: number;
  /** Updates that others stood for. */
  readonly replaced: number;
  /** From the planned SetVariable to the arrival. */
  readonly latency: LatencySummary;
}

/** What one watcher knows, by the number of the variable: nothing was set before it came. */
interface Watcher {
  readonly workflow: number;
  readonly versions: number[];
}

export class VersionCount {
  readonly #latencies = new Latencies();
  readonly #watchers: Watcher[] = [];
  #resetUs = nowUs();
  #nowUs = this.#resetUs;
  #updates = 0;
  #messages = 0;
  #replaced = 0;
  /** Versions that all watchers have passed together, since they came. */
  #passed = 0;
  #failure: Error | undefined;
  #onProgress = () => {};

  reset(): void {
    this.#latencies.reset();
    this.#resetUs = nowUs();
    this.#updates = this.#messages = this.#replaced = 0;
  }

  forget(): void {
    this.#watchers.length = 0;
    this.#passed = 0;
  }

  /** A watcher of the workflow of this number; gives what takes its messages. */
  join(workflow: number): (message: Buffer) => void {
    const watcher: Watcher = { workflow, versions: [] };
    this.#watchers.push(watcher);
    const onUpdate = (update: ReadUpdate) => this.#note(watcher, update);
    return (message) => {
      this.#nowUs = nowUs();
      if (readUpdates(message, onUpdate) === 0) return;
      this.#messages += 1;
      this.#onProgress();
    };
  }

  readonly fail = (error: Error): void => {
    this.#failure ??= error;
    this.#onProgress();
  };

  /** Until every watcher has all variables at the last of their versions, by workflow; one that has not fails the run. */
  async finish(last: readonly (readonly number[])[], limitMs: number): Promise<Watched> {
    const sums = last.map((versions) => versions.reduce((sum, version) => sum + version, 0));
    const expected = this.#watchers.reduce((sum, { workflow }) => sum + (sums[workflow] ?? 0), 0);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, limitMs);
      this.#onProgress = () => {
        if (this.#passed < expected && this.#failure === undefined) return;
        clearTimeout(timer);
        resolve();
      };
      this.#onProgress();
    });
    this.#onProgress = () => {};
    if (this.#failure !== undefined) throw this.#failure;
    const behind = this.#watchers.filter(({ workflow, versions }) =>
      last[workflow]?.some((version, n) => (versions[n] ?? 0) !== version),
    );
    if (behind.length > 0) {
      throw new Error(`${behind.length} of ${this.#watchers.length} watchers do not have the last versions`);
    }
    return {
      updates: this.#updates,
      messages: this.#messages,
      replaced: this.#replaced,
      latency: this.#latencies.summary(),
    };
  }

  #note({ versions }: Watcher, { n, version, replaced, us }: ReadUpdate): void {
    const before = versions[n] ?? 0;
    if (version !== before + 1 + replaced) {
      this.fail(
        new Error(
          `variable ${n}: version ${version}, standing for ${replaced} more, came after version ${before}`,
        ),
      );
    }
    versions[n] = version;
    this.#passed += version - before;
    if (us === undefined || us < this.#resetUs) return;
    this.#updates += 1;
    this.#replaced += replaced;
    this.#latencies.record(this.#nowUs - us);
  }
}
