/**
 * Follows a stream to its end, across lost connections, restarts and drains.
 *
 * Guarantees: every event of the scope and filter once and in rising offsets, or covered by a `gap`; the last item is
 * `ended`; what trying again cannot heal is thrown (unknown workflow, no permission, a stream restored from a backup);
 * leaving the loop, by `break`, by an error or by the signal, ends the call. With the signal the items simply stop: who
 * gave it knows why.
 *
 * A call that ends well but without `Ended` or `Closing` was cut, not finished: it is resumed like any lost connection.
 */
import type { Client, ConnectError } from "@connectrpc/connect";
import type {
  Closing,
  Ended,
  Event,
  EventType,
  Gap,
  Opened,
  StreamMessage,
} from "../gen/tributary/v1/event_pb.ts";
import type { EventStreamService } from "../gen/tributary/v1/event_stream_service_pb.ts";
import { asConnectError, isRetryable, retryAfterMs } from "./errors.ts";
import { backoffMs, sleep } from "./retry.ts";
import { openCall } from "./stream-call.ts";

export type FollowItem =
  /** First: the stream is live. */
  | { readonly kind: "opened"; readonly opened: Opened }
  /** At least one. To remember a position, keep the offset of the last one you have dealt with. */
  | { readonly kind: "events"; readonly events: readonly Event[] }
  /** These offsets can no longer be had: retention removed them. */
  | { readonly kind: "gap"; readonly gap: Gap }
  /** The connection is lost, or the server asked to come again; it is resumed by itself after a wait. */
  | {
      readonly kind: "interrupted";
      readonly afterOffset: bigint;
      readonly retryInMs: number;
      /** What the server said before it ended the call, or how it broke; undefined: it ended without a word. */
      readonly reason: Closing | ConnectError | undefined;
    }
  /** Live again, right after this offset. */
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
  /** Of the stream when the position was stored: another one means that it was restored, and is thrown as ABORTED. */
  readonly expectedEpoch?: bigint | undefined;
  /** Stops it. */
  readonly signal?: AbortSignal | undefined;
}

/** How a call is asked for, as the generated client takes it. */
type StreamOptionsInit = NonNullable<
  Parameters<Client<typeof EventStreamService>["streamWorkflow"]>[0]["options"]
>;
export type OpenStream = (
  options: StreamOptionsInit,
  signal: AbortSignal,
) => AsyncIterable<{ readonly message?: StreamMessage | undefined }>;

export async function* follow(
  open: OpenStream,
  options: FollowOptions = {},
  random: () => number = Math.random,
): AsyncGenerator<FollowItem, void> {
  const { signal } = options;
  const isStopped = () => signal?.aborted === true;
  const position = new Position(options);
  let failures = 0;
  while (!isStopped()) {
    let reason: Closing | ConnectError | undefined;
    try {
      const start = position.toOptions(options);
      for await (const { message } of openCall((own) => open(start, own), signal)) {
        if (message?.case !== "opened") failures = 0; // an answer alone is no progress
        if (message?.case === "closing") reason = message.value;
        const item = message && position.take(message);
        if (item !== undefined) yield item;
        if (item?.kind === "ended") return;
      }
    } catch (error) {
      if (isStopped()) return;
      reason = asConnectError(error);
      if (!isRetryable(reason)) throw reason;
    }
    if (isStopped()) return;
    failures += 1;
    const retryInMs = waitFor(reason, failures, random);
    yield { kind: "interrupted", afterOffset: position.cursor, retryInMs, reason };
    await sleep(retryInMs, signal);
  }
}

function waitFor(reason: Closing | ConnectError | undefined, failures: number, random: () => number): number {
  const backoff = backoffMs(failures, random);
  if (reason === undefined) return backoff;
  // The server spreads its readers itself.
  if ("reconnectAfterMs" in reason) return reason.reconnectAfterMs || backoff;
  return Math.max(backoff, retryAfterMs(reason));
}

/** Where the stream is: what was yielded lies at or below the cursor. */
class Position {
  cursor: bigint;
  #opened: Opened | undefined;

  constructor({ afterOffset }: FollowOptions) {
    this.cursor = BigInt(afterOffset ?? 0);
  }

  toOptions({
    afterOffset,
    latest,
    types,
    taskExecutionIds,
    minIntervalMs,
    expectedEpoch,
  }: FollowOptions): StreamOptionsInit {
    const fromNow = latest === true && afterOffset === undefined && this.#opened === undefined;
    return {
      start: fromNow ? { case: "latest", value: true } : { case: "afterOffset", value: this.cursor },
      types: [...(types ?? [])],
      taskExecutionIds: [...(taskExecutionIds ?? [])],
      minIntervalMs: minIntervalMs ?? 0,
      // After a restore the offsets mean something else: the server refuses, and that is thrown.
      expectedEpoch: this.#opened?.epoch ?? expectedEpoch ?? 0n,
    };
  }

  /** What the message is for the caller; undefined: nothing. */
  take(message: StreamMessage["message"]): FollowItem | undefined {
    switch (message.case) {
      case "opened": {
        const resumed = this.#opened !== undefined;
        this.#opened ??= message.value;
        if (resumed) return { kind: "resumed", afterOffset: this.cursor };
        this.cursor = message.value.startOffset;
        return { kind: "opened", opened: message.value };
      }
      case "events": {
        const { events } = message.value;
        const fresh =
          (events[0]?.offset ?? 0n) > this.cursor ? events : events.filter((e) => e.offset > this.cursor);
        this.cursor = fresh.at(-1)?.offset ?? this.cursor;
        return fresh.length > 0 ? { kind: "events", events: fresh } : undefined;
      }
      case "heartbeat":
        if (message.value.offset > this.cursor) this.cursor = message.value.offset;
        return undefined;
      case "gap":
        if (message.value.toOffset <= this.cursor) return undefined;
        this.cursor = message.value.toOffset;
        return { kind: "gap", gap: message.value };
      case "ended":
        return { kind: "ended", ended: message.value };
      default:
        return undefined; // closing ends the call; what a newer server adds is not for us
    }
  }
}
