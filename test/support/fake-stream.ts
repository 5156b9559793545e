/** One stream in memory, as a store and a hub give it to readers, on a clock that is turned by hand. */
import { EventType, type NewEvent, type StoredEvent, sizeOf } from "../../server/core/event.ts";
import { type FollowMessage, type FollowRequest, follow } from "../../server/core/follow.ts";
import type { Gate } from "../../server/core/gate.ts";
import { LiveStream } from "../../server/core/live-stream.ts";
import type { Closing } from "../../server/core/open-call.ts";
import type { EventStore, Notice, PageRequest } from "../../server/core/ports.ts";
import type { Sink } from "../../server/core/sink.ts";
import { Traffic } from "../../server/core/traffic.ts";
import { anEvent } from "./commands.ts";
import { readAll } from "./core-server.ts";
import { ManualClock } from "./manual-clock.ts";

export const workflowId = "0198f3a2-6b1c-7d4e-8f90-a1b2c3d4e5f6";

const isEnd = ({ type }: StoredEvent) => type === EventType.WORKFLOW_COMPLETED;

/** Of one workflow, which ends with WORKFLOW_COMPLETED. */
export class FakeStream {
  readonly clock = new ManualClock();
  readonly events: StoredEvent[] = [];
  readonly traffic = new Traffic();
  readonly live: LiveStream;
  /** Pages that were read. */
  pages = 0;
  /** Readers that have the stream. */
  users = 0;
  /** Writes to those who follow live. */
  liveWrites = 0;
  readonly #writeTurns = { take: async () => {}, noteLive: () => void this.liveWrites++ };

  constructor(window = { entries: 8, bytes: 1_000_000 }) {
    this.live = new LiveStream(
      "stream",
      0,
      { store: this.store, writeTurns: this.#writeTurns, clock: this.clock, onFailure: () => {} },
      window,
      this.traffic.openStream(readAll.owner),
    );
  }

  append(...events: Partial<NewEvent>[]): this {
    this.live.onNotice(this.commit(...events));
    return this;
  }

  /** Stores, and gives the notice that tells of it. */
  commit(...events: Partial<NewEvent>[]): Notice {
    const from = this.events.length + 1;
    const entries = events.map((event, i) => ({
      ...anEvent({ workflowId, ...event }),
      offset: from + i,
      recordedMs: 1,
    }));
    for (const entry of entries) this.events.push(entry); // there may be more than a call takes arguments
    return { streamId: "stream", from, to: this.events.length, entries };
  }

  get store(): Pick<EventStore, "readScope" | "readPage" | "readParents"> {
    return {
      readParents: async () => new Map(),
      readScope: async () => ({
        streamId: "stream",
        epoch: 1,
        tailOffset: this.events.length,
        floorOffset: 0,
        status: this.events.some(isEnd) ? 2 : 1,
        openInSubtree: this.events.some(isEnd) ? 0 : 1,
        finalOffset: this.events.find(isEnd)?.offset,
        taskOutcome: undefined,
      }),
      readPage: async (request) => this.#page(request),
    };
  }

  #page({ cursor, upTo, limit, filter }: PageRequest) {
    this.pages++;
    const events: StoredEvent[] = [];
    let bytes = 0;
    let scannedTo = Math.min(upTo, this.events.length);
    for (const event of this.events.slice(cursor, upTo)) {
      if (filter.types !== undefined && !filter.types.includes(event.type)) continue;
      bytes += sizeOf(event);
      if (events.length === limit || (events.length > 0 && bytes > 1_000_000)) {
        scannedTo = (events.at(-1) as StoredEvent).offset;
        break;
      }
      events.push(event);
    }
    return { events, scannedTo, floorOffset: 0, tailOffset: this.events.length };
  }

  follow(
    request: Partial<FollowRequest>,
    {
      signal = new AbortController().signal,
      gate,
      call = new FakeCall(),
      sink,
    }: { signal?: AbortSignal; gate?: Gate; call?: FakeCall; sink?: Sink } = {},
  ): AsyncGenerator<FollowMessage> {
    const hub = {
      acquire: async () => {
        this.users++;
        return this.live;
      },
      release: () => {
        this.users--;
      },
    };
    const whole = {
      ...readAll,
      streamId: "stream",
      scope: { kind: "tree", workflowId } as const,
      ...request,
    };
    return follow({ hub, store: this.store, clock: this.clock }, whole, call, signal, gate, sink);
  }
}

/** A call that a test closes. */
export class FakeCall {
  closing: Closing | undefined;
  readonly #listeners = new Set<() => void>();

  onClosing(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(closing: Closing): void {
    this.closing = closing;
    for (const listener of this.#listeners) listener();
  }
}

/** Reads in the background; what came is in `messages`. */
export class Collected {
  readonly messages: FollowMessage[] = [];
  readonly done: Promise<void>;

  constructor(messages: AsyncIterable<FollowMessage>) {
    this.done = (async () => {
      for await (const message of messages) this.messages.push(message);
    })();
    this.done.catch(() => {});
  }

  /** The offsets of each message with events. */
  get batches(): number[][] {
    return this.messages.flatMap((message) =>
      message.kind === "events" ? [message.events.map(({ offset }) => offset)] : [],
    );
  }

  get kinds(): string[] {
    return this.messages.map(({ kind }) => kind);
  }
}
