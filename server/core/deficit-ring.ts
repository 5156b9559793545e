/**
 * Deficit round robin (Shreedhar and Varghese, 1995): members take turns, each turn adds a quantum to what a member may
 * spend, and a head dearer than that waits for further turns. So members share by cost, not by count, in O(1) a pick.
 * A member that runs empty leaves the ring and its deficit is forgotten: nobody saves up turns while idle.
 */
export interface RingMember {
  /** Cost of what it would give next; undefined: nothing. */
  headCost(): number | undefined;
}

export class DeficitRing<M extends RingMember> {
  readonly #quantum: number;
  readonly #round: () => number;
  readonly #members: M[] = [];
  readonly #deficit = new Map<M, number>();
  #at = 0;
  #inTurn = false;

  /** `round`: what all members together may spend in a round at least; where they are few, each turn is larger. */
  constructor(quantum: number, round = () => 0) {
    this.#quantum = quantum;
    this.#round = round;
  }

  /** Adds a member that has something; one that is in stays where it is. */
  add(member: M): void {
    if (this.#deficit.has(member)) return;
    this.#deficit.set(member, 0);
    this.#members.push(member);
  }

  /** The member whose turn it is and whose head it can afford. Stable until `charge` or a change of that head. */
  pick(): M | undefined {
    while (this.#members.length > 0) {
      if (this.#at >= this.#members.length) this.#at = 0;
      const member = this.#members[this.#at] as M;
      const cost = member.headCost();
      if (cost === undefined) {
        this.#members.splice(this.#at, 1);
        this.#deficit.delete(member);
        this.#inTurn = false;
        continue;
      }
      let deficit = this.#deficit.get(member) ?? 0;
      if (!this.#inTurn) {
        deficit += Math.max(this.#quantum, this.#round() / this.#members.length);
        this.#deficit.set(member, deficit);
        this.#inTurn = true;
      }
      if (cost <= deficit) return member;
      this.#inTurn = false;
      this.#at++;
    }
    return undefined;
  }

  /** Takes the cost of what the picked member gave. */
  charge(member: M, cost: number): void {
    const deficit = this.#deficit.get(member);
    if (deficit !== undefined) this.#deficit.set(member, deficit - cost);
  }
}
