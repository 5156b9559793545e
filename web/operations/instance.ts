/**
 * How the instance is that answers this page: GetStats every two seconds, the sessions every six, and what happens in the service as
 * it happens. Kept: five minutes of figures, 300 system events.
 */
import { Code, ConnectError, sleep } from "../../client/browser.ts";
import type { GetStatsResponse, Session, SystemEvent } from "../../gen/tributary/v1/admin_service_pb.ts";
import type { Api } from "../session/api.ts";
import { keepCalling } from "../session/keep-calling.ts";
import { whilePresent } from "../ui/presence.ts";
import { Changes } from "../ui/store.ts";

export interface Sample {
  readonly atMs: number;
  readonly published: number;
  readonly delivered: number;
}

/** They have no id of their own. */
export interface HeardEvent {
  readonly id: number;
  readonly event: SystemEvent;
}

const statsIntervalMs = 2000;
const sessionsEvery = 3;
const mostSamples = 150;
const mostSystemEvents = 300;

export class Instance {
  readonly changes = new Changes();
  stats: GetStatsResponse | undefined;
  sessions: readonly Session[] = [];
  /** Newest first. */
  systemEvents: readonly HeardEvent[] = [];
  /** A second, between two answers. */
  samples: readonly Sample[] = [];
  connected = false;
  /** The key lacks the role MANAGE. */
  denied: string | undefined;
  failure: string | undefined;
  readonly #api: Api;
  readonly #stop = new AbortController();
  #heard = 0;
  #before: { readonly atMs: number; readonly stats: GetStatsResponse } | undefined;

  constructor(api: Api) {
    this.#api = api;
  }

  async run(): Promise<void> {
    const both = (signal: AbortSignal) => Promise.all([this.#poll(signal), this.#listen(signal)]);
    await whilePresent(async (signal) => void (await both(signal)), this.#stop.signal);
  }

  stop(): void {
    this.#stop.abort();
  }

  async #poll(signal: AbortSignal): Promise<void> {
    for (let round = 0; !signal.aborted && this.denied === undefined; round += 1) {
      try {
        this.#take(await this.#api.admin.getStats({}, { signal, timeoutMs: 5000 }));
        if (round % sessionsEvery === 0) {
          this.sessions = (await this.#api.admin.listSessions({ pageSize: 200 }, { signal })).sessions;
        }
        this.failure = undefined;
      } catch (error) {
        if (signal.aborted) return;
        this.#fail(error);
      }
      this.changes.touch();
      await sleep(statsIntervalMs, signal);
    }
  }

  async #listen(signal: AbortSignal): Promise<void> {
    const tell = (connected: boolean) => {
      this.connected = connected;
      this.changes.touch();
    };
    const open = (own: AbortSignal) => this.#api.admin.streamSystemEvents({}, { signal: own });
    try {
      for await (const { message } of keepCalling(open, signal, tell)) {
        if (message.case !== "event") continue;
        this.#heard += 1;
        const heard = { id: this.#heard, event: message.value };
        this.systemEvents = [heard, ...this.systemEvents].slice(0, mostSystemEvents);
        this.changes.touch();
      }
    } catch (error) {
      this.#fail(error);
      this.changes.touch();
    }
  }

  #take(stats: GetStatsResponse): void {
    const atMs = Date.now();
    const before = this.#before;
    // Another instance may have answered, or this one anew: its counts begin elsewhere.
    if (before !== undefined && before.stats.instanceId === stats.instanceId) {
      const seconds = (atMs - before.atMs) / 1000;
      const rate = (now: bigint, then: bigint) => Math.max(0, Number(now - then) / seconds);
      const sample = {
        atMs,
        published: rate(stats.eventsPublished, before.stats.eventsPublished),
        delivered: rate(stats.eventsDelivered, before.stats.eventsDelivered),
      };
      this.samples = [...this.samples, sample].slice(-mostSamples);
    }
    this.#before = { atMs, stats };
    this.stats = stats;
  }

  #fail(error: unknown): void {
    const { code, rawMessage } = ConnectError.from(error);
    if (code === Code.PermissionDenied) this.denied = rawMessage;
    else this.failure = rawMessage;
  }
}
