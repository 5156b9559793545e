/**
 * What this instance knows of tasks, for calls that are answered before the commit: only an event for a task that is known
 * to be open is answered at once; for any other the answer waits for `append`'s decision. So a fire-and-forget event after
 * a terminal one is refused although nothing is asked of the database beforehand. Hints only choose who waits; they decide nothing.
 */
import { LRUCache } from "lru-cache";

export class TaskHints {
  readonly #open = new LRUCache<string, true>({ max: 100_000 });

  isKnownOpen(workflowId: string, taskExecutionId: string): boolean {
    return this.#open.get(`${workflowId}\n${taskExecutionId}`) === true;
  }

  noteOpen(workflowId: string, taskExecutionId: string): void {
    this.#open.set(`${workflowId}\n${taskExecutionId}`, true);
  }

  /** A terminal event was accepted, or an event was refused. */
  forget(workflowId: string, taskExecutionId: string): void {
    this.#open.delete(`${workflowId}\n${taskExecutionId}`);
  }
}
