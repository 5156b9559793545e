/**
 * What one instance tells the others so that they act now and not at their next look at the database. Whoever tells has
 * acted already, on itself and in the database; its own news do not come back to it.
 *
 * News travel as signals: they may be lost, doubled or late. So each kind names what heals a lost one, and how soon; and
 * what is said of a workflow names its stream, since by the time it is heard another tree may have its id.
 */
import type { Bus, SignalBody } from "./ports.ts";

export interface News {
  /** Healed by the renewal of leases (1 min) and by the registry's second look (1 min). */
  readonly cancel_requested: {
    readonly workflowId: string;
    readonly streamId: string;
    readonly reason: string;
  };
  /** Healed by `append`, which refuses what comes for a closed workflow, and by the registry's second look. */
  readonly workflow_closed: {
    readonly workflowId: string;
    readonly streamId: string;
    readonly root: string;
    readonly withDescendants: boolean;
  };
  /** Healed as `workflow_closed`. */
  readonly tree_deleted: { readonly workflowId: string };
  /** Another connection holds the session, from this epoch on. Healed by the fence in `append` and the renewal of leases. */
  readonly session_taken: { readonly sessionId: string; readonly epoch: number };
  /** An administrator ended it. Healed as `session_taken`. */
  readonly session_ended: { readonly sessionId: string };
  /** Healed by the life of cached keys (5 s) and the revocation sweep (10 s). */
  readonly key_revoked: { readonly apiKeyId: string };
  /** Healed as `key_revoked`. */
  readonly tenant_disabled: { readonly tenant: string };
  /** Another key signs stream tokens. Healed by the life of cached keys (5 s) and the revocation sweep (10 s). */
  readonly signing_key_rotated: { readonly signingKeyId: string };
  /** Its limits. Healed by the next look at the limits in use (4 s). */
  readonly tenant_changed: { readonly tenant: string };
}

type Kind = keyof News;

/** Its fields, for what comes from a version that is not ours. */
const fields: { readonly [K in Kind]: Readonly<Record<keyof News[K], "string" | "number" | "boolean">> } = {
  cancel_requested: { workflowId: "string", streamId: "string", reason: "string" },
  workflow_closed: { workflowId: "string", streamId: "string", root: "string", withDescendants: "boolean" },
  tree_deleted: { workflowId: "string" },
  session_taken: { sessionId: "string", epoch: "number" },
  session_ended: { sessionId: "string" },
  key_revoked: { apiKeyId: "string" },
  tenant_disabled: { tenant: "string" },
  signing_key_rotated: { signingKeyId: "string" },
  tenant_changed: { tenant: "string" },
};

export interface NewsDeps {
  readonly bus: Pick<Bus, "signal" | "onSignal">;
  readonly instanceId: string;
}

const topic = "news";

export class Newsroom {
  readonly #deps: NewsDeps;
  readonly #listeners = new Map<Kind, Set<(news: never) => void>>();
  #unlisten = () => {};

  constructor(deps: NewsDeps) {
    this.#deps = deps;
  }

  /** Begins to hear the other instances. */
  async open(): Promise<void> {
    this.#unlisten = await this.#deps.bus.onSignal(topic, (body) => this.#hear(body));
  }

  close(): void {
    this.#unlisten();
  }

  tell<K extends Kind>(kind: K, news: News[K]): void {
    this.#deps.bus.signal(topic, { from: this.#deps.instanceId, kind, news: { ...news } as SignalBody });
  }

  /** The listener must not throw. Returns how to stop it. */
  on<K extends Kind>(kind: K, listener: (news: News[K]) => void): () => void {
    const set = this.#listeners.get(kind) ?? new Set();
    this.#listeners.set(kind, set.add(listener));
    return () => set.delete(listener);
  }

  #hear(body: SignalBody): void {
    const { from, kind, news } = (body ?? {}) as { from?: unknown; kind?: unknown; news?: unknown };
    if (from === this.#deps.instanceId || typeof kind !== "string" || !Object.hasOwn(fields, kind)) return;
    if (typeof news !== "object" || news === null) return;
    const known = Object.entries(fields[kind as Kind]);
    if (!known.every(([name, type]) => typeof (news as Record<string, unknown>)[name] === type)) return;
    for (const listener of this.#listeners.get(kind as Kind) ?? []) listener(news as never);
  }
}
