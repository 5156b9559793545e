/**
 * Follows a stream of events to its end, across lost connections, restarts and drains.
 *
 * Guarantees: every event of the scope and filter once and in rising offsets, or covered by a `gap`; the last item is
 * `ended`; what trying again cannot heal is thrown (unknown workflow, no permission, a stream restored from a backup).
 */
import type { Client } from "@connectrpc/connect";
import type { Ended, Event, EventType, Gap, Opened, StreamMessage } from "../../gen/tributary/v1/event_pb.ts";
import type { EventStreamService } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import type { Call } from "../stream-call.ts";
import { PositionKeeper, type PositionStore } from "./position-store.ts";
import type { Interrupted, Reading, Step } from "./reading.ts";

export type FollowItem =
  /** First: the stream is open. */
  | { readonly kind: "opened"; readonly opened: Opened }
  /** At least one. To remember a position, keep the offset of the last one you have dealt with. */
  | { readonly kind: "events"; readonly events: readonly Event[] }
  /** These offsets can no longer be had: retention removed them. */
  | { readonly kind: "gap"; readonly gap: Gap }
  | Interrupted
  /** Open again, right after this offset. */
  | { readonly kind: "resumed"; readonly afterOffset: bigint }
  /** Last: nothing will ever come. */
  | { readonly kind: "ended"; readonly ended: Ended };

export interface FollowOptions {
  /** Begin after this offset. Absent: from the beginning. */
  readonly afterOffset?: bigint | number | undefined;
  /** Begin with what is committed from now on. `afterOffset` wins. */
  readonly latest?: boolean | undefined;
  /** Only these types; absent or empty: all. */
  readonly types?: readonly EventType[] | undefined;
  /** Only these tasks; absent or empty: all. */
  readonly taskExecutionIds?: readonly string[] | undefined;
  /** At most one message in so long, once live, ms; nothing is lost. Absent: at once. */
  readonly minIntervalMs?: number | undefined;
  /** Of what is pending in one message, only the newest of these types. */
  readonly conflateTypes?: readonly EventType[] | undefined;
  /** Of the stream when the position was stored: another one means that it was restored, and is thrown as ABORTED. */
  readonly expectedEpoch?: bigint | undefined;
  /** Begins at the position it has, if it has one, and keeps it up to date. Wins over the other places to begin. */
  readonly store?: PositionStore | undefined;
  /** Stops it. */
  readonly signal?: AbortSignal | undefined;
}

/** How a call is asked for, as the generated client takes it. */
export type StreamOptionsInit = NonNullable<
  Parameters<Client<typeof EventStreamService>["streamWorkflow"]>[0]["options"]
>;
export interface EventAnswer {
  readonly message?: StreamMessage | undefined;
}
export type OpenStream = (options: StreamOptionsInit, call: Call) => AsyncIterable<EventAnswer>;

export class EventReading implements Reading<EventAnswer, FollowItem> {
  readonly what: string;
  position: bigint;
  readonly #open: OpenStream;
  readonly #options: FollowOptions;
  readonly #keeper: PositionKeeper;
  #fromNow: boolean;
  #epoch: bigint;
  #tail = 0n;
  #opened = false;

  constructor(what: string, open: OpenStream, options: FollowOptions) {
    this.what = what;
    this.#open = open;
    this.#options = options;
    this.#keeper = new PositionKeeper(options.store);
    this.position = BigInt(options.afterOffset ?? 0);
    this.#epoch = options.expectedEpoch ?? 0n;
    this.#fromNow = options.latest === true && options.afterOffset === undefined;
  }

  get isLive(): boolean {
    return this.#opened && this.position >= this.#tail;
  }

  async prepare(): Promise<void> {
    const stored = await this.#keeper.load();
    if (stored === undefined) return;
    this.position = stored.offset;
    this.#epoch = stored.epoch;
    this.#fromNow = false;
  }

  settle(): Promise<void> {
    return this.#keeper.save(this.position, this.#opened ? this.#epoch : undefined);
  }

  open(call: Call): AsyncIterable<EventAnswer> {
    const { types = [], taskExecutionIds = [], minIntervalMs = 0, conflateTypes = [] } = this.#options;
    return this.#open(
      {
        start: this.#fromNow
          ? { case: "latest", value: true }
          : { case: "afterOffset", value: this.position },
        types: [...types],
        taskExecutionIds: [...taskExecutionIds],
        conflateTypes: [...conflateTypes],
        minIntervalMs,
        // After a restore the offsets mean something else: the server refuses, and that is thrown.
        expectedEpoch: this.#epoch,
      },
      call,
    );
  }

  take({ message: said }: EventAnswer): Step<FollowItem> {
    const message = said?.message;
    switch (message?.case) {
      case "opened":
        return { items: [this.#takeOpened(message.value)] };
      case "events": {
        const { events } = message.value;
        const isNew = (events[0]?.offset ?? 0n) > this.position;
        const fresh = isNew ? events : events.filter((event) => event.offset > this.position);
        this.position = fresh.at(-1)?.offset ?? this.position;
        return { progress: true, items: fresh.length > 0 ? [{ kind: "events", events: fresh }] : [] };
      }
      case "heartbeat":
        if (message.value.offset > this.position) this.position = message.value.offset;
        return { progress: true };
      case "gap":
        if (message.value.toOffset <= this.position) return { progress: true };
        this.position = message.value.toOffset;
        return { progress: true, items: [{ kind: "gap", gap: message.value }] };
      case "closing":
        return { progress: true, closing: message.value };
      case "ended":
        return { progress: true, ended: true, items: [{ kind: "ended", ended: message.value }] };
      default:
        return {}; // what a newer server adds is not for us
    }
  }

  #takeOpened(opened: Opened): FollowItem {
    this.#epoch = opened.epoch;
    this.#tail = opened.tailOffset;
    if (this.#opened) return { kind: "resumed", afterOffset: this.position };
    this.#opened = true;
    this.#fromNow = false;
    this.position = opened.startOffset;
    return { kind: "opened", opened };
  }
}
