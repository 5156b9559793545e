/**
 * One recall, live: what matches now, best first, and above it what comes while one looks. Without words it is everything, newest
 * first. Kept: the newest 500 that came, and the 100 of the snapshot.
 */
import { ConnectError, type RecalledObservation } from "../../client/browser.ts";
import type { Api } from "../session/api.ts";
import type { ConnectionKind } from "../ui/connection.tsx";
import { whilePresent } from "../ui/presence.ts";
import { Changes } from "../ui/store.ts";

const mostArrived = 500;

export class Recall {
  readonly changes = new Changes();
  connection: ConnectionKind = "connecting";
  failure: string | undefined;
  /** The snapshot is complete. */
  complete = false;
  /** Newest first. */
  arrived: readonly RecalledObservation[] = [];
  snapshot: readonly RecalledObservation[] = [];
  readonly #api: Api;
  readonly #space: string;
  readonly #text: string;
  readonly #stop = new AbortController();

  constructor(api: Api, space: string, text: string) {
    this.#api = api;
    this.#space = space;
    this.#text = text;
  }

  run(): Promise<void> {
    return whilePresent((signal) => this.#recall(signal), this.#stop.signal);
  }

  async #recall(signal: AbortSignal): Promise<void> {
    this.arrived = [];
    this.snapshot = [];
    const cue =
      this.#text === ""
        ? ({ case: "timeRange", value: {} } as const)
        : ({ case: "text", value: this.#text } as const);
    try {
      for await (const item of this.#api.recall({ space: this.#space, cue, follow: true, signal })) {
        if (item.kind === "results" && item.snapshot) this.snapshot = [...this.snapshot, ...item.results];
        else if (item.kind === "results") {
          this.arrived = [...item.results.toReversed(), ...this.arrived].slice(0, mostArrived);
        } else if (item.kind === "snapshot") this.complete = true;
        this.connection = item.kind === "interrupted" ? "reconnecting" : "live";
        this.changes.touch();
      }
    } catch (error) {
      if (signal.aborted) return;
      this.connection = "failed";
      this.failure = ConnectError.from(error).rawMessage;
      this.changes.touch();
    }
  }

  stop(): void {
    this.#stop.abort();
  }
}
