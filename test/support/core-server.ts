/**
 * The core over a real Postgres, without HTTP: what the model and the fault tests drive. `restart` throws away everything
 * that a process would lose.
 */

import { createMemoryBus } from "../../server/bus/memory-bus.ts";
import { Appender } from "../../server/core/appender.ts";
import { systemClock } from "../../server/core/clock.ts";
import type { NewEvent } from "../../server/core/event.ts";
import { type FollowMessage, type FollowRequest, follow } from "../../server/core/follow.ts";
import { defaultHubOptions, Hub, type HubOptions } from "../../server/core/hub.ts";
import type { Bus } from "../../server/core/ports.ts";
import { Traffic } from "../../server/core/traffic.ts";
import { createPgEventStore, type PgEventStore } from "../../server/store/pg-event-store.ts";

export interface CoreOptions {
  readonly hub?: Partial<HubOptions>;
  readonly wrapBus?: (bus: Bus) => Bus;
  readonly statementTimeoutMs?: number;
  readonly onFailure?: (message: string, error: Error) => void;
}

export class CoreServer {
  readonly #url: string;
  readonly #options: CoreOptions;
  store!: PgEventStore;
  hub!: Hub;
  appender!: Appender;
  dropped: NewEvent[] = [];

  constructor(url: string, options: CoreOptions = {}) {
    this.#url = url;
    this.#options = options;
    this.#open();
  }

  #open(): void {
    const onFailure = this.#options.onFailure ?? (() => {});
    this.store = createPgEventStore({
      url: this.#url,
      poolSize: 6,
      connectTimeoutMs: 5000,
      statementTimeoutMs: this.#options.statementTimeoutMs ?? 10_000,
      onError: () => {},
      commitConnections: 3,
    });
    const memory = createMemoryBus();
    const bus = this.#options.wrapBus?.(memory) ?? memory;
    const clock = systemClock;
    const traffic = new Traffic();
    this.hub = new Hub(
      { store: this.store, bus, clock, traffic, onFailure },
      { ...defaultHubOptions, ...this.#options.hub },
    );
    this.appender = new Appender(
      { store: this.store, bus, clock, random: Math.random, traffic, onFailure },
      { commitConnections: 3 },
    );
  }

  follow(request: FollowRequest, signal: AbortSignal): AsyncGenerator<FollowMessage> {
    const call = { closing: undefined, onClosing: () => () => {} };
    return follow({ hub: this.hub, store: this.store, clock: systemClock }, request, call, signal);
  }

  async close(): Promise<void> {
    await this.appender.close(AbortSignal.timeout(5000));
    await this.hub.close();
    await this.store.close();
  }

  async restart(): Promise<void> {
    await this.close();
    this.#open();
  }
}

export const readAll: Pick<
  FollowRequest,
  "owner" | "filter" | "start" | "heartbeatIntervalMs" | "idleTimeoutMs" | "minIntervalMs" | "expectedEpoch"
> = {
  owner: { tenant: "acme", rootWorkflowId: undefined, space: undefined },
  filter: { types: undefined, tasks: undefined },
  start: 0,
  heartbeatIntervalMs: 15_000,
  idleTimeoutMs: 0,
  minIntervalMs: 0,
  expectedEpoch: 0,
};
