/**
 * Follows one tree for as long as it is shown: events go into the `History` as they come, views hear of it once a frame. The
 * SDK resumes by itself, once and in order; the state of the connection is told beside it.
 */
import { type Code, ConnectError } from "../../client/browser.ts";
import type { Api } from "../session/api.ts";
import { Meter, pageMeter } from "../ui/meter.ts";
import { whilePresent } from "../ui/presence.ts";
import { Changes, Store } from "../ui/store.ts";
import { toEntry } from "./entry.ts";
import { History, mostEntries } from "./history.ts";

export type FeedState =
  | { readonly kind: "connecting" }
  | { readonly kind: "catching-up" }
  | { readonly kind: "live" }
  | { readonly kind: "reconnecting" }
  | { readonly kind: "ended" }
  | { readonly kind: "failed"; readonly code: Code; readonly message: string };

/** Messages come at most so often: about two frames, so that a busy tree costs a few hundred decodings less a second. */
const minIntervalMs = 33;

export interface FeedOptions {
  /** Begin with the newest few hundred events, and keep few: for a card among others. Absent: with the first. */
  readonly recent?: boolean;
}

/** Words that come faster than this are read no better; frames between are left to scrolling and pointers. */
const wordsIntervalMs = 50;
const calmIntervalMs = 100;
/** Of `recent`. */
const recentEvents = 300;
const recentKept = 2_000;

export class TreeFeed {
  readonly workflowId: string;
  readonly history: History;
  readonly changes = new Changes(wordsIntervalMs);
  /** For long lists: nobody reads more than ten changes a second, and each costs a layout. */
  readonly calmChanges = new Changes(calmIntervalMs);
  readonly state = new Store<FeedState>({ kind: "connecting" });
  readonly meter = new Meter();
  /** Events before those that were read: retention removed them, or they were left out. */
  missing = 0;
  readonly #api: Api;
  readonly #recent: boolean;
  readonly #stop = new AbortController();

  constructor(api: Api, workflowId: string, { recent = false }: FeedOptions = {}) {
    this.#api = api;
    this.workflowId = workflowId;
    this.#recent = recent;
    this.history = new History(recent ? recentKept : mostEntries);
  }

  async run(): Promise<void> {
    const { signal } = this.#stop;
    try {
      if (this.#recent) await this.#readRecent();
      await whilePresent((own) => this.#follow(own), signal);
    } catch (error) {
      const { code, rawMessage } = ConnectError.from(error);
      if (!signal.aborted) this.state.set({ kind: "failed", code, message: rawMessage });
    }
  }

  /** From where it stands; so each time it is called. */
  async #follow(signal: AbortSignal): Promise<void> {
    const afterOffset = this.history.live.offset;
    const stream = this.#api.followTree(this.workflowId, { minIntervalMs, signal, afterOffset });
    let interrupted = false;
    stream.onState((state) => {
      if (state === "live") this.state.set({ kind: "live" });
      else if (state === "catching-up" && !interrupted) this.state.set({ kind: "catching-up" });
    });
    for await (const item of stream) {
      if (item.kind === "events") this.#take(item.events.map(toEntry), stream.state === "live");
      else if (item.kind === "gap") {
        this.missing += Number(item.gap.toOffset - item.gap.fromOffset) + 1;
        void this.#learn();
      } else if (item.kind === "interrupted") {
        interrupted = true;
        this.state.set({ kind: "reconnecting" });
      } else if (item.kind === "resumed") interrupted = false;
      else if (item.kind === "ended") this.state.set({ kind: "ended" });
      this.#changed();
    }
  }

  stop(): void {
    this.#stop.abort();
  }

  #changed(): void {
    this.changes.touch();
    this.calmChanges.touch();
  }

  #take(entries: readonly ReturnType<typeof toEntry>[], isLive: boolean): void {
    const now = Date.now();
    let characters = 0;
    for (const entry of entries) {
      this.history.add(entry);
      characters += entry.text.length;
    }
    for (const meter of [this.meter, pageMeter]) meter.count(entries.length, characters, now);
    const last = entries.at(-1);
    if (isLive && last !== undefined) pageMeter.latency(now - last.recordedMs, now);
  }

  async #readRecent(): Promise<void> {
    const { events } = await this.#api.streams.readEvents(
      { workflowId: this.workflowId, consolidated: true, descending: true, limit: recentEvents },
      { signal: this.#stop.signal },
    );
    const entries = events.map(toEntry).reverse();
    this.missing = Math.max(0, (entries[0]?.offset ?? 1) - 1);
    for (const entry of entries) this.history.add(entry);
    if (this.missing > 0) await this.#learn();
    this.#changed();
  }

  /** The registry knows the workflows whose creation is no longer among the events. */
  async #learn(): Promise<void> {
    const { signal } = this.#stop;
    let pageToken = "";
    do {
      const page = await this.#api.workflows
        .getWorkflowTree({ workflowId: this.workflowId, pageSize: 1000, pageToken }, { signal })
        .catch(() => undefined); // they are shown by their ids then
      this.history.learn(page?.workflows ?? []);
      this.#changed();
      pageToken = page?.nextPageToken ?? "";
    } while (pageToken !== "");
  }
}
