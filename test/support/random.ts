/**
 * Seeded randomness: a failing run is repeated with TRIBUTARY_SEED. And what is chosen by chance for the short run
 * (`npm test`), while the full one (`npm run test:full`) takes all.
 */

/** mulberry32: small, fast, good enough to choose test steps. */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 ≤ x < 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** A whole number, 0 ≤ n < bound. */
  below(bound: number): number {
    return Math.floor(this.next() * bound);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new Error("nothing to pick from");
    return items[this.below(items.length)] as T;
  }
}

/** The seeds of this run: those of TRIBUTARY_SEED, or new ones each time. */
export function seeds(count: number): number[] {
  const given = process.env["TRIBUTARY_SEED"];
  if (given !== undefined) return given.split(",").map(Number);
  return Array.from({ length: count }, () => Math.floor(Math.random() * 2 ** 31));
}

/** Whether this is the full run. */
export const isFull = process.env["TRIBUTARY_TEST_FULL"] !== undefined;

/** So many of these, in their order and others in each run; all of them in the full run. */
export function someOf<T>(all: readonly T[], count: number): readonly T[] {
  if (isFull) return all;
  const [seed = 0] = seeds(1);
  const random = new Random(seed);
  const left = [...all];
  while (left.length > count) left.splice(random.below(left.length), 1);
  return left;
}
