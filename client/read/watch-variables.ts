/**
 * Watches the variables of a workflow: what they are, then every change, once and in order, across lost connections.
 *
 * A snapshot is one moment. If the connection breaks inside it, it is told anew, as of another moment, after a `restarted`:
 * what was told of it before counts no more. After a `gap` the values as they are follow in the same way.
 */
import type { Client } from "@connectrpc/connect";
import type { Ended, EventType, Gap, Opened } from "../../gen/tributary/v1/event_pb.ts";
import type {
  VariableService,
  VariableUpdate,
  WatchVariablesResponse,
} from "../../gen/tributary/v1/variable_service_pb.ts";
import type { Call } from "../stream-call.ts";
import { PositionKeeper, type PositionStore } from "./position-store.ts";
import type { Interrupted, Reading, Step } from "./reading.ts";

export type WatchItem =
  /** First. */
  | { readonly kind: "opened"; readonly opened: Opened }
  /** Values of a snapshot, or changes. */
  | { readonly kind: "updates"; readonly updates: readonly VariableUpdate[] }
  /** The snapshot is complete: it is the state at this offset. */
  | { readonly kind: "snapshot"; readonly offset: bigint }
  /** The snapshot begins anew: forget what it told so far. */
  | { readonly kind: "restarted"; readonly opened: Opened }
  /** Changes that can no longer be had. The values as they are follow, then `snapshot`; others do not exist. */
  | { readonly kind: "gap"; readonly gap: Gap }
  | Interrupted
  | { readonly kind: "resumed"; readonly afterOffset: bigint }
  /** Last: the workflow is closed. */
  | { readonly kind: "ended"; readonly ended: Ended };

export interface WatchOptions {
  /** Only these; absent or empty: all, also later ones. */
  readonly names?: readonly string[] | undefined;
  /** Tell what they are, before the changes. Default true. */
  readonly initialValues?: boolean | undefined;
  /** Names that do not exist are waited for. Default false: they are NOT_FOUND. */
  readonly allowMissing?: boolean | undefined;
  /** Begin with the changes after this offset, without initial values. */
  readonly afterOffset?: bigint | number | undefined;
  readonly minIntervalMs?: number | undefined;
  /** VARIABLE_SET, VARIABLE_DELETED: of what is pending in one message only the newest of each variable. */
  readonly conflateTypes?: readonly EventType[] | undefined;
  readonly expectedEpoch?: bigint | undefined;
  /** Begins with the changes after the position it has, if it has one, and keeps it up to date. */
  readonly store?: PositionStore | undefined;
  readonly signal?: AbortSignal | undefined;
}

type Request = Parameters<Client<typeof VariableService>["watchVariables"]>[0];
export type OpenWatch = (
  request: Omit<Request, "workflowId" | "$typeName">,
  call: Call,
) => AsyncIterable<WatchVariablesResponse>;

export class VariableReading implements Reading<WatchVariablesResponse, WatchItem> {
  readonly what: string;
  /** Behind it nothing is missing: inside a snapshot it stays before that. */
  position = 0n;
  readonly #open: OpenWatch;
  readonly #options: WatchOptions;
  readonly #keeper: PositionKeeper;
  /** Where to resume; undefined: with a snapshot, or from now on. */
  #after: bigint | undefined;
  #inSnapshot = false;
  /** The last offset of a gap that was told. */
  #lost = 0n;
  #epoch: bigint;
  #tail = 0n;
  #opened = false;

  constructor(what: string, open: OpenWatch, options: WatchOptions) {
    this.what = what;
    this.#open = open;
    this.#options = options;
    this.#keeper = new PositionKeeper(options.store);
    this.#epoch = options.expectedEpoch ?? 0n;
    if (options.afterOffset !== undefined) this.position = this.#after = BigInt(options.afterOffset);
  }

  get isLive(): boolean {
    return this.#opened && !this.#inSnapshot && this.position >= this.#tail;
  }

  async prepare(): Promise<void> {
    const stored = await this.#keeper.load();
    if (stored === undefined) return;
    this.position = this.#after = stored.offset;
    this.#epoch = stored.epoch;
  }

  settle(): Promise<void> {
    // Inside a snapshot there is no place to go on from.
    return this.#keeper.save(this.position, this.#opened && !this.#inSnapshot ? this.#epoch : undefined);
  }

  open(call: Call): AsyncIterable<WatchVariablesResponse> {
    const { names = [], initialValues = true, allowMissing = false } = this.#options;
    const { minIntervalMs = 0, conflateTypes = [] } = this.#options;
    const after = this.#after;
    const start =
      after === undefined
        ? { case: "latest" as const, value: true }
        : { case: "afterOffset" as const, value: after };
    const options = { start, minIntervalMs, conflateTypes: [...conflateTypes], expectedEpoch: this.#epoch };
    return this.#open(
      {
        names: [...names],
        includeInitialValues: after === undefined && initialValues,
        allowMissing,
        options,
      },
      call,
    );
  }

  take({ message }: WatchVariablesResponse): Step<WatchItem> {
    switch (message.case) {
      case "opened":
        return { items: [this.#takeOpened(message.value)] };
      case "updates":
        return this.#takeUpdates(message.value.updates);
      case "snapshotComplete":
        this.#inSnapshot = false;
        this.#move(message.value.offset);
        return { progress: true, items: [{ kind: "snapshot", offset: message.value.offset }] };
      case "heartbeat":
        if (!this.#inSnapshot && message.value.offset > this.position) this.#move(message.value.offset);
        return { progress: true };
      case "gap": {
        // Until its snapshot is complete the position stays before it, so it is told again after a resume.
        this.#inSnapshot = true;
        const { toOffset } = message.value;
        if (toOffset <= this.#lost) return { progress: true };
        this.#lost = toOffset;
        return { progress: true, items: [{ kind: "gap", gap: message.value }] };
      }
      case "closing":
        return { progress: true, closing: message.value };
      case "ended":
        return { progress: true, ended: true, items: [{ kind: "ended", ended: message.value }] };
      default:
        return {};
    }
  }

  #takeOpened(opened: Opened): WatchItem {
    const first = !this.#opened;
    this.#opened = true;
    this.#epoch = opened.epoch;
    this.#tail = opened.tailOffset;
    if (this.#after !== undefined) {
      return first ? { kind: "opened", opened } : { kind: "resumed", afterOffset: this.position };
    }
    this.position = opened.startOffset;
    if (this.#options.initialValues ?? true) this.#inSnapshot = true;
    else this.#after = this.position;
    return first ? { kind: "opened", opened } : { kind: "restarted", opened };
  }

  #takeUpdates(updates: readonly VariableUpdate[]): Step<WatchItem> {
    if (this.#inSnapshot) return { progress: true, items: [{ kind: "updates", updates }] };
    const fresh = updates.filter(({ offset }) => offset > this.position);
    const last = fresh.at(-1);
    if (last === undefined) return { progress: true };
    this.#move(last.offset);
    return { progress: true, items: [{ kind: "updates", updates: fresh }] };
  }

  #move(offset: bigint): void {
    this.position = this.#after = offset;
  }
}
