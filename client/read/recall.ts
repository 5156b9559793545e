/**
 * Recalls observations: the matches of one moment, best first, each once; with `follow` every later one, in order.
 *
 * If the connection breaks inside the snapshot, the same snapshot is asked for again, and what it has told already is left
 * out. After it the position is an offset, as everywhere.
 */
import type { Client } from "@connectrpc/connect";
import type { Gap, Opened } from "../../gen/tributary/v1/event_pb.ts";
import type {
  MemoryService,
  RecalledObservation,
  RecallMessage,
} from "../../gen/tributary/v1/memory_service_pb.ts";
import type { Call } from "../stream-call.ts";
import type { Interrupted, Reading, Step } from "./reading.ts";

export type RecallItem =
  /** First. */
  | { readonly kind: "opened"; readonly opened: Opened }
  /** Of the snapshot, best first; or after it, in order of offset. */
  | { readonly kind: "results"; readonly results: readonly RecalledObservation[]; readonly snapshot: boolean }
  /** The snapshot is complete. Without `follow` this is the last item. */
  | { readonly kind: "snapshot"; readonly offset: bigint; readonly results: number }
  | { readonly kind: "gap"; readonly gap: Gap }
  | Interrupted
  | { readonly kind: "resumed"; readonly afterOffset: bigint };

type Request = Parameters<Client<typeof MemoryService>["recallStream"]>[0];

export interface RecallOptions {
  /** Absent: "default". */
  readonly space?: string | undefined;
  /** What to look for. */
  readonly cue: NonNullable<NonNullable<Request["cue"]>["cue"]>;
  /** Of the snapshot. Default 100. */
  readonly maxResults?: number | undefined;
  /** Of the snapshot, 0–1. */
  readonly minScore?: number | undefined;
  /** The snapshot holds nothing newer than this offset. */
  readonly snapshotOffset?: bigint | undefined;
  /** Go on with new matches. */
  readonly follow?: boolean | undefined;
  /** With `follow`: no snapshot, only what comes after this offset. */
  readonly afterOffset?: bigint | number | undefined;
  readonly expectedEpoch?: bigint | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface RecallAnswer {
  readonly message?: RecallMessage | undefined;
}
export type OpenRecall = (request: Omit<Request, "$typeName">, call: Call) => AsyncIterable<RecallAnswer>;

export class RecallReading implements Reading<RecallAnswer, RecallItem> {
  readonly what: string;
  position = 0n;
  readonly #open: OpenRecall;
  readonly #options: RecallOptions;
  /** The offset of the snapshot, from the first call on. */
  #snapshot: bigint | undefined;
  /** Offsets of the snapshot that were told: at most `maxResults`. */
  readonly #told = new Set<bigint>();
  #after: bigint | undefined;
  #epoch: bigint;
  #tail = 0n;
  #opened = false;

  constructor(what: string, open: OpenRecall, options: RecallOptions) {
    this.what = what;
    this.#open = open;
    this.#options = options;
    this.#snapshot = options.snapshotOffset;
    this.#epoch = options.expectedEpoch ?? 0n;
    if (options.afterOffset !== undefined) this.position = this.#after = BigInt(options.afterOffset);
  }

  get isLive(): boolean {
    return this.#after !== undefined && this.#opened && this.position >= this.#tail;
  }

  open(call: Call): AsyncIterable<RecallAnswer> {
    const { space = "", cue, maxResults = 0, minScore = 0, follow = false } = this.#options;
    const after = this.#after;
    const isolated = after === undefined && this.#snapshot !== undefined;
    return this.#open(
      {
        space,
        cue: { cue },
        maxResults,
        minScore,
        follow,
        snapshotIsolation: isolated,
        snapshotOffset: isolated ? (this.#snapshot ?? 0n) : 0n,
        options: {
          expectedEpoch: this.#epoch,
          ...(after === undefined ? {} : { start: { case: "afterOffset", value: after } }),
        },
      },
      call,
    );
  }

  take({ message: said }: RecallAnswer): Step<RecallItem> {
    const message = said?.message;
    switch (message?.case) {
      case "opened":
        return { items: [this.#takeOpened(message.value)] };
      case "results":
        return { progress: true, items: this.#takeResults(message.value.results) };
      case "snapshotComplete": {
        const { snapshotOffset: offset, results } = message.value;
        this.#told.clear();
        this.#move(offset);
        const ended = this.#options.follow !== true;
        return { progress: true, ended, items: [{ kind: "snapshot", offset, results }] };
      }
      case "heartbeat":
        if (this.#after !== undefined && message.value.offset > this.position)
          this.#move(message.value.offset);
        return { progress: true };
      case "gap":
        if (message.value.toOffset <= this.position) return { progress: true };
        this.#move(message.value.toOffset);
        return { progress: true, items: [{ kind: "gap", gap: message.value }] };
      case "closing":
        return { progress: true, closing: message.value };
      default:
        return {};
    }
  }

  #takeOpened(opened: Opened): RecallItem {
    this.#epoch = opened.epoch;
    this.#tail = opened.tailOffset;
    if (this.#opened) return { kind: "resumed", afterOffset: this.position };
    this.#opened = true;
    if (this.#after === undefined) {
      // An empty space has no offset to isolate at: 0 would mean the tail. Nothing was told of it then.
      this.#snapshot = opened.startOffset === 0n ? undefined : opened.startOffset;
      this.position = opened.startOffset;
    }
    return { kind: "opened", opened };
  }

  #takeResults(results: readonly RecalledObservation[]): RecallItem[] {
    const snapshot = this.#after === undefined;
    const offsetOf = ({ observation }: RecalledObservation) => observation?.offset ?? 0n;
    const fresh = results.filter((result) =>
      snapshot ? !this.#told.has(offsetOf(result)) : offsetOf(result) > this.position,
    );
    const last = fresh.at(-1);
    if (last === undefined) return [];
    if (snapshot) for (const result of fresh) this.#told.add(offsetOf(result));
    else this.#move(offsetOf(last));
    return [{ kind: "results", results: fresh, snapshot }];
  }

  #move(offset: bigint): void {
    this.position = this.#after = offset;
  }
}
