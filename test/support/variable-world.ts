/** Variables over a real Postgres without HTTP, with a hook before and after each step of a watch. */
import { createMemoryBus } from "../../server/bus/memory-bus.ts";
import type { Access } from "../../server/core/access.ts";
import { Appender } from "../../server/core/appender.ts";
import { systemClock } from "../../server/core/clock.ts";
import { defaultHubOptions, Hub } from "../../server/core/hub.ts";
import { Newsroom } from "../../server/core/news.ts";
import { OpenCalls } from "../../server/core/open-call.ts";
import type { Bus, EventStore } from "../../server/core/ports.ts";
import { Registry } from "../../server/core/registry.ts";
import { Traffic } from "../../server/core/traffic.ts";
import type { VariableUpdate } from "../../server/core/variables/update.ts";
import type { VariableStore } from "../../server/core/variables/variable.ts";
import { Variables } from "../../server/core/variables/variables.ts";
import { type WatchMessage, type WatchRequest, watchVariables } from "../../server/core/variables/watch.ts";
import { createPgEventStore } from "../../server/store/pg-event-store.ts";
import { createPgVariableStore } from "../../server/store/pg-variable-store.ts";
import { createPgWorkflowStore } from "../../server/store/pg-workflow-store.ts";
import { create } from "./commands.ts";
import { newId } from "./database.ts";
import { noQuotas } from "./quotas.ts";

export const access: Access = { tenant: "acme", subtrees: undefined, seesVariables: true };

export interface VariableWorld {
  readonly variables: Variables;
  readonly appender: Appender;
  readonly registry: Registry;
  newWorkflow(): Promise<string>;
  set(workflowId: string, name: string, value: number, expectedVersion?: number): Promise<number>;
  watch(
    request: Partial<WatchRequest> & { workflowId: string },
    signal: AbortSignal,
  ): AsyncGenerator<WatchMessage>;
  close(): Promise<void>;
}

export interface WorldOptions {
  /** Called around each step, as "before readSnapshot". */
  readonly at?: (point: string) => Promise<void>;
  readonly tailCheckIntervalMs?: number;
}

export function openWorld(
  url: string,
  { at = async () => {}, tailCheckIntervalMs = 1000 }: WorldOptions = {},
): VariableWorld {
  const onFailure = () => {};
  const pgStore = createPgEventStore({
    url,
    poolSize: 4,
    connectTimeoutMs: 5000,
    statementTimeoutMs: 10_000,
    onError: () => {},
    commitConnections: 2,
  });
  const hooked =
    <A extends unknown[], R>(name: string, step: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      await at(`before ${name}`);
      const result = await step(...args);
      await at(`after ${name}`);
      return result;
    };
  const store: EventStore = {
    append: pgStore.append,
    readScope: hooked("readScope", pgStore.readScope),
    readPage: hooked("readPage", pgStore.readPage),
    readTails: hooked("readTails", pgStore.readTails),
    readParents: pgStore.readParents,
  };
  const memoryBus = createMemoryBus();
  const bus: Bus = {
    ...memoryBus,
    subscribe: hooked("subscribe", (streamId, listener) => memoryBus.subscribe(streamId, listener)),
  };
  const pgVariables = createPgVariableStore(pgStore.pool);
  const variableStore: VariableStore = {
    ...pgVariables,
    readSnapshot: hooked("readSnapshot", pgVariables.readSnapshot),
    readAt: hooked("readAt", pgVariables.readAt),
  };
  const clock = systemClock;
  const traffic = new Traffic();
  const hub = new Hub(
    { store, bus, clock, traffic, onFailure },
    { ...defaultHubOptions, tailCheckIntervalMs },
  );
  const appender = new Appender(
    { store, bus, clock, random: Math.random, traffic, onFailure },
    { commitConnections: 2 },
  );
  const registry = new Registry({
    store: createPgWorkflowStore(pgStore.pool),
    clock,
    news: new Newsroom({ bus, instanceId: "here" }),
  });
  const calls = new OpenCalls({ clock, random: Math.random });
  const variables = new Variables({ appender, registry, variableStore, clock, quotas: noQuotas });
  return {
    variables,
    appender,
    registry,
    async newWorkflow() {
      const workflowId = newId();
      const submission = appender.submit(create(newId(), { workflowId }));
      if (submission.offer !== "queued") throw new Error(submission.offer);
      await submission.result;
      return workflowId;
    },
    async set(workflowId, name, value, expectedVersion) {
      const given = {
        path: "a",
        name,
        type: 0,
        value: { text: String(value), plain: value },
        constraints: undefined,
        metadata: {},
        clearMetadata: false,
        expectedVersion,
      };
      const [stored] = await variables.set(access, workflowId, "", [given], false);
      return stored?.version ?? 0;
    },
    watch: (request, signal) =>
      watchVariables(
        { hub, store, clock, registry, calls, variableStore },
        access,
        { tenant: "acme", apiKeyId: undefined, expiresMs: undefined },
        {
          names: [],
          includeInitialValues: true,
          allowMissing: true,
          options: readAll,
          ...request,
        },
        signal,
      ),
    async close() {
      await appender.close(AbortSignal.timeout(5000));
      await hub.close();
      await pgStore.close();
    },
  };
}

export const readAll: WatchRequest["options"] = {
  start: "latest",
  minIntervalMs: 0,
  heartbeatIntervalMs: 0,
  idleTimeoutMs: 0,
  expectedEpoch: 0,
};

/** What a watcher knows: the state of each variable, from initial values and changes, with the versions that it saw. */
export class Seen {
  readonly state = new Map<string, { version: number; value: unknown }>();
  readonly versions = new Map<string, number[]>();
  /** Changes that it was told of, those that were replaced included. */
  changes = 0;
  offset = 0;

  take(message: WatchMessage): void {
    if (message.kind === "opened") this.offset = message.startOffset;
    if (message.kind === "gap") this.state.clear();
    if (message.kind === "heartbeat" || message.kind === "snapshot_complete") this.move(message.offset, true);
    if (message.kind === "updates") for (const update of message.updates) this.#update(update);
  }

  #update({ kind, name, offset, replaced, content }: VariableUpdate): void {
    const { version, value } = content().variable;
    this.move(offset, kind === "initial");
    if (kind !== "initial") this.changes += 1 + replaced;
    if (kind === "deleted") this.state.delete(name);
    else {
      this.state.set(name, { version, value });
      this.versions.set(name, [...(this.versions.get(name) ?? []), version]);
    }
  }

  move(offset: number, maySame: boolean): void {
    if (offset < this.offset || (!maySame && offset === this.offset)) {
      throw new Error(`offset ${offset} after ${this.offset}`);
    }
    this.offset = offset;
  }
}
