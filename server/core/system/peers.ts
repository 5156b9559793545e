/**
 * The other instances: each says every 5 s that it is there. One that has not been heard for 15 s without having said good
 * bye is told of as a WARNING: it was killed, hangs, or the bus does not carry. Each instance tells that to its own
 * readers, from what it heard itself; so nothing is decided by it, it is there for people.
 */
import type { Clock } from "../clock.ts";
import type { Bus, SignalBody } from "../ports.ts";
import type { SystemEvents } from "./system-events.ts";

export interface PeersDeps {
  readonly bus: Pick<Bus, "signal" | "onSignal" | "degraded">;
  readonly instanceId: string;
  readonly clock: Clock;
  readonly systemEvents: Pick<SystemEvents, "warnHere">;
}

const sayEveryMs = 5000;
const silenceMs = 15_000;
/** Peers remembered: those heard last. */
const mostPeers = 1000;
const topic = "peers";

export class Peers {
  readonly #deps: PeersDeps;
  readonly #heardMs = new Map<string, number>();
  #unlisten = () => {};
  #cancelTimer = () => {};

  constructor(deps: PeersDeps) {
    this.#deps = deps;
  }

  /** Other instances that were heard lately. */
  get count(): number {
    return this.#heardMs.size;
  }

  async open(): Promise<void> {
    this.#unlisten = await this.#deps.bus.onSignal(topic, (body) => this.#hear(body));
    this.#turn();
  }

  /** Says good bye. */
  close(): void {
    this.#cancelTimer();
    this.#unlisten();
    this.#say(true);
  }

  #turn(): void {
    this.#say(false);
    this.#lookForSilent();
    this.#cancelTimer = this.#deps.clock.after(sayEveryMs, () => this.#turn());
  }

  #say(leaving: boolean): void {
    this.#deps.bus.signal(topic, { instanceId: this.#deps.instanceId, leaving });
  }

  #hear(body: SignalBody): void {
    const { instanceId, leaving } = (body ?? {}) as { instanceId?: unknown; leaving?: unknown };
    if (typeof instanceId !== "string" || instanceId === this.#deps.instanceId) return;
    this.#heardMs.delete(instanceId);
    if (leaving === true) return;
    this.#heardMs.set(instanceId, this.#deps.clock.now());
    if (this.#heardMs.size > mostPeers) this.#heardMs.delete(this.#heardMs.keys().next().value as string);
  }

  #lookForSilent(): void {
    const now = this.#deps.clock.now();
    // Deaf itself, it knows nothing of the others: their silence counts from when it hears again.
    const isDeaf = this.#deps.bus.degraded() !== undefined;
    for (const [instanceId, heardMs] of this.#heardMs) {
      if (isDeaf) this.#heardMs.set(instanceId, now);
      else if (now - heardMs >= silenceMs) {
        this.#heardMs.delete(instanceId);
        this.#deps.systemEvents.warnHere(
          "peers",
          `instance ${instanceId} has not been heard for ${silenceMs / 1000} s: it was killed, hangs, or is cut off`,
          { instance_id: instanceId },
        );
      }
    }
  }
}
