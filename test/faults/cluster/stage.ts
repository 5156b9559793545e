/** What every actor of a life shares: the cluster, its seed's randomness, the witness, and whether the play goes on. */
import type { Code } from "@connectrpc/connect";
import type { Random } from "../../support/random.ts";
import type { Clients } from "../../support/server.ts";
import type { Cluster } from "./cluster.ts";
import type { Instance } from "./instance.ts";
import type { Witness } from "./witness.ts";

/** A unary call that takes longer is tried elsewhere, ms. */
const patienceMs = 4000;

export class Stage {
  readonly cluster: Cluster;
  readonly random: Random;
  readonly witness: Witness;
  /** Writers stop making new work; what they have is brought to its end. */
  over = false;
  /** The very end: whoever still tries gives up. */
  isClosed = false;

  constructor(cluster: Cluster, random: Random, witness: Witness) {
    this.cluster = cluster;
    this.random = random;
    this.witness = witness;
  }

  anyInstance(): Instance {
    return this.random.pick(this.cluster.instances);
  }

  /** Of the tenant, at any instance. */
  anyClients(tenant: string, purpose = ""): Clients {
    return this.cluster.clients(this.anyInstance(), tenant, purpose);
  }

  /**
   * Calls at one instance after the other until one has an answer. undefined: refused with an expected code, or with one that
   * the witness was told of. `tries` is how often before that the outcome was not known.
   */
  async call<T>(
    who: string,
    tenant: string,
    attempt: (clients: Clients, options: { readonly signal: AbortSignal }) => Promise<T>,
    expected: readonly Code[] = [],
  ): Promise<{ readonly answer: T | undefined; readonly tries: number; readonly failure?: unknown }> {
    for (let tries = 0; ; tries++) {
      try {
        const signal = AbortSignal.timeout(patienceMs);
        return { answer: await attempt(this.anyClients(tenant), { signal }), tries };
      } catch (failure) {
        if (this.isClosed) return { answer: undefined, tries, failure };
        if (!this.witness.excuses(who, failure, expected)) return { answer: undefined, tries, failure };
        await nap(20 + this.random.below(100));
      }
    }
  }
}

export const nap = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
