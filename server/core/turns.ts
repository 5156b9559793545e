/**
 * A number of permits, given in the order in which they were asked for. Who asks does not wait: it is told at once, or
 * called when its turn comes. So many users cost at most so many permits' worth at a time, and nobody is overtaken.
 */
export interface Turn {
  readonly held: boolean;
  /** Gives the permit, or the place in the queue, back. Safe twice. */
  release(): void;
}

export class Turns {
  #free: number;
  /** In the order of asking. */
  readonly #waiting = new Set<() => void>();

  constructor(permits: number) {
    this.#free = permits;
  }

  /** `onTurn` is called later, unless the turn is held already. */
  ask(onTurn: () => void): Turn {
    let state: "waiting" | "held" | "over" = this.#free > 0 ? "held" : "waiting";
    const take = () => {
      state = "held";
      onTurn();
    };
    if (state === "held") this.#free--;
    else this.#waiting.add(take);
    return {
      get held() {
        return state === "held";
      },
      release: () => {
        const was = state;
        state = "over";
        if (was === "waiting") this.#waiting.delete(take);
        else if (was === "held") this.#pass();
      },
    };
  }

  #pass(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#free++;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
