/**
 * How full the place is where a session's entries wait, and what state that makes of the session: BACKPRESSURE from 80 %,
 * ACTIVE again at 50 %, OVERLOADED once entries were refused, until it is below 80 % (design §3).
 */
import type { Lane } from "../command.ts";
import type { Lanes } from "../lanes.ts";

export type PressureState = "active" | "backpressure" | "overloaded";

const enterAt = 0.8;
const leaveAt = 0.5;

export class Pressure {
  readonly #lanes: Lanes;
  readonly #lane: Lane;
  readonly #tenant: string;
  state: PressureState = "active";

  constructor(lanes: Lanes, lane: Lane, tenant: string) {
    this.#lanes = lanes;
    this.#lane = lane;
    this.#tenant = tenant;
  }

  /** 0–1: the largest of the tenant's share, the lane, and all lanes, each the larger of entries and bytes. */
  get level(): number {
    return this.#lanes.usage.pressure(this.#lane, this.#tenant);
  }

  /** Looks again; true: the state changed. `refused`: entries have just been refused for want of room. */
  update(refused = false): boolean {
    const { level } = this;
    const before = this.state;
    if (refused || level >= 1) this.state = "overloaded";
    else if (level >= enterAt) this.state = before === "overloaded" ? before : "backpressure";
    else if (level > leaveAt) this.state = before === "active" ? before : "backpressure";
    else this.state = "active";
    return this.state !== before;
  }
}
