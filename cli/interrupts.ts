/**
 * Ctrl-C, SIGTERM, and a reader of stdout that goes away (`| head`). A command that has nothing to tidy up ends at once;
 * one that `take`s them gets a signal and tidies up, and a second Ctrl-C ends it at once.
 */
const exitCodes = { SIGINT: 130, SIGTERM: 143 } as const;
type Name = keyof typeof exitCodes;

/** Some runners pass on a Ctrl-C that the terminal has sent to all their processes already: within so long it is one, ms. */
const sameKeystrokeMs = 100;

export class Interrupts {
  readonly #controller = new AbortController();
  readonly #exit: (code: number) => void;
  #taken = false;
  #atMs = 0;
  /** 128 + the number of the signal that came first; undefined: none has. */
  exitCode: number | undefined;

  constructor(process: Pick<NodeJS.Process, "on" | "exit">) {
    this.#exit = (code) => process.exit(code);
    for (const name of Object.keys(exitCodes) as Name[]) process.on(name, () => this.#hear(name));
  }

  /** From now on the command ends itself when the signal aborts. */
  take(): AbortSignal {
    this.#taken = true;
    return this.#controller.signal;
  }

  /** Nobody reads the output any more: no failure, but no reason to go on. */
  readerGone(): void {
    if (!this.#taken) this.#exit(0);
    this.exitCode ??= 0;
    this.#controller.abort();
  }

  #hear(name: Name): void {
    const nowMs = performance.now();
    if (!this.#taken) this.#exit(exitCodes[name]);
    else if (this.exitCode === undefined) {
      this.exitCode = exitCodes[name];
      this.#atMs = nowMs;
      this.#controller.abort();
    } else if (nowMs - this.#atMs > sameKeystrokeMs) this.#exit(exitCodes.SIGINT);
  }
}
