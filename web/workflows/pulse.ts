/**
 * How fast the open trees of the list move, without reading them: one call (StreamMany) with a filter that hardly anything
 * passes. Its heartbeats tell, once a second, up to which offset each tree has come.
 */
import { EventType } from "../../client/browser.ts";
import { StreamScope } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import type { Api } from "../session/api.ts";
import { keepCalling } from "../session/keep-calling.ts";
import { whilePresent } from "../ui/presence.ts";
import { Changes } from "../ui/store.ts";

export interface Beat {
  /** Events of the whole tree so far. */
  readonly offset: number;
  readonly perSecond: number;
  readonly atMs: number;
}

const heartbeatIntervalMs = 1000;
/** Trees followed at once: the newest open ones. */
export const mostTrees = 50;

export class Pulse {
  readonly changes = new Changes();
  readonly beats = new Map<string, Beat>();
  readonly #api: Api;
  #followed = "";
  #current: AbortController | undefined;

  constructor(api: Api) {
    this.#api = api;
  }

  /** From now on these; the same ones again change nothing. */
  follow(workflowIds: readonly string[]): void {
    const key = workflowIds.join();
    if (key === this.#followed) return;
    this.stop();
    this.#followed = key;
    for (const id of this.beats.keys()) if (!workflowIds.includes(id)) this.beats.delete(id);
    if (workflowIds.length === 0) return;
    const own = new AbortController();
    this.#current = own;
    whilePresent((signal) => this.#listen(workflowIds, signal), own.signal).catch(() => {
      // No rates then: the list says how trees are, and that it is not connected.
    });
  }

  stop(): void {
    this.#current?.abort();
    this.#current = undefined;
    this.#followed = "";
  }

  async #listen(workflowIds: readonly string[], signal: AbortSignal): Promise<void> {
    const targets = workflowIds.map((workflowId) => ({
      label: workflowId,
      scope: StreamScope.CONSOLIDATED,
      workflowId,
      options: {
        start: { case: "latest" as const, value: true },
        types: [EventType.CANCEL_REQUESTED],
        heartbeatIntervalMs,
      },
    }));
    const open = async function* (this: Pulse, own: AbortSignal) {
      for await (const { label, result } of this.#api.streams.streamMany({ targets }, { signal: own })) {
        if (result.case === "message") yield { label, message: result.value.message };
      }
    }.bind(this);
    for await (const { label, message } of keepCalling(open, signal, () => {})) {
      if (message.case === "opened") this.#beat(label, Number(message.value.tailOffset), true);
      else if (message.case === "heartbeat") this.#beat(label, Number(message.value.offset), false);
    }
  }

  #beat(workflowId: string, offset: number, first: boolean): void {
    const atMs = Date.now();
    const before = this.beats.get(workflowId);
    const seconds = before === undefined ? 0 : (atMs - before.atMs) / 1000;
    const moved = before === undefined || first ? 0 : offset - before.offset;
    this.beats.set(workflowId, { offset, atMs, perSecond: seconds > 0.2 ? moved / seconds : 0 });
    this.changes.touch();
  }
}
