/**
 * A level-triggered bell with one listener: `ring` before `wait` is not lost, and many rings before a wait count once.
 * Every await of a reader goes through it, so that new entries, timers, the end of the call and a drain all end the same
 * wait, without a race of promises per round.
 */
export class Wakeup {
  #rung = false;
  #resolve: (() => void) | undefined;

  ring(): void {
    if (this.#resolve === undefined) {
      this.#rung = true;
      return;
    }
    const resolve = this.#resolve;
    this.#resolve = undefined;
    resolve();
  }

  wait(): Promise<void> {
    if (this.#rung) {
      this.#rung = false;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }
}
