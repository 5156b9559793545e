/** How this instance is, in the words of GetStats and HEALTH_CHANGED; tells when that changes. */
import { type SystemEvents, SystemEventType } from "./system-events.ts";

export interface HealthDeps {
  readonly systemEvents: Pick<SystemEvents, "emit">;
  readonly isDraining: () => boolean;
  /** Can the database be read and written, as far as known? */
  readonly isDatabaseThere: () => boolean;
  /** What is wrong with the bus; undefined: nothing. */
  readonly busTrouble: () => string | undefined;
}

export class HealthWatch {
  readonly #deps: HealthDeps;
  #status = "healthy";

  constructor(deps: HealthDeps) {
    this.#deps = deps;
  }

  /** "healthy", "degraded: <what>", "draining". */
  get status(): string {
    if (this.#deps.isDraining()) return "draining";
    if (!this.#deps.isDatabaseThere()) return "degraded: database";
    return this.#deps.busTrouble() === undefined ? "healthy" : "degraded: bus";
  }

  /** Something that it depends on may have changed. */
  look(): void {
    const [before, now] = [this.#status, this.status];
    if (now === before) return;
    this.#status = now;
    this.#deps.systemEvents.emit({
      type: SystemEventType.HEALTH_CHANGED,
      component: "health",
      message: `${now}, was ${before}`,
      metadata: { status: now, before },
    });
  }
}
