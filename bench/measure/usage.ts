/**
 * What a process used between two moments, measured by itself: CPU of all its threads, resident memory at both ends and
 * its highest value between (looked at every 50 ms).
 */
export interface Usage {
  readonly seconds: number;
  readonly cpuUs: number;
  readonly rssStart: number;
  readonly rssEnd: number;
  readonly rssPeak: number;
}

const sampleMs = 50;

export class UsageMeter {
  readonly #began = performance.now();
  readonly #cpu = process.cpuUsage();
  readonly #rssStart = process.memoryUsage.rss();
  #rssPeak = this.#rssStart;
  readonly #timer = setInterval(() => this.#look(), sampleMs).unref();

  #look(): number {
    const rss = process.memoryUsage.rss();
    this.#rssPeak = Math.max(this.#rssPeak, rss);
    return rss;
  }

  end(): Usage {
    clearInterval(this.#timer);
    const { user, system } = process.cpuUsage(this.#cpu);
    const rssEnd = this.#look();
    return {
      seconds: (performance.now() - this.#began) / 1000,
      cpuUs: user + system,
      rssStart: this.#rssStart,
      rssEnd,
      rssPeak: this.#rssPeak,
    };
  }
}

export interface SettledMemory {
  readonly rss: number;
  readonly heap: number;
  /** Of V8, outside its heap: buffers. */
  readonly external: number;
}

/**
 * Memory after the most thorough garbage collection there is, which also gives pages back to the system: else what the start
 * left free would be filled first, and a reader would seem to cost nothing. Twice, since finalizers free some only after the
 * first. Needs --expose-gc.
 */
export async function settledMemory(): Promise<SettledMemory> {
  const { gc } = globalThis;
  if (gc === undefined) throw new Error("start it with --expose-gc");
  for (let round = 0; round < 2; round += 1) {
    await gc({ type: "major", execution: "async", flavor: "last-resort" });
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rss, heap: heapUsed, external };
}
