/**
 * The variables of one workflow: as they are, from WatchVariables, and the newest 200 changes before that, from its events.
 * Kept: 100 changes of each variable.
 */
import { toJson } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import {
  ConnectError,
  type Event,
  EventType,
  type VariableUpdate,
  VariableUpdateType,
} from "../../client/browser.ts";
import type { Api } from "../session/api.ts";
import { fieldsOf, textIn } from "../tree/entry.ts";
import type { ConnectionKind } from "../ui/connection.tsx";
import { whilePresent } from "../ui/presence.ts";
import { Changes } from "../ui/store.ts";

export interface Change {
  readonly offset: number;
  readonly version: number;
  /** As JSON; undefined: deleted. */
  readonly value: string | undefined;
  readonly source: string;
  readonly atMs: number;
}

export interface WatchedVariable {
  readonly name: string;
  /** As JSON; undefined: it does not exist now. */
  value: string | undefined;
  version: number;
  source: string;
  updatedMs: number;
  /** Newest first. */
  history: Change[];
}

const mostChanges = 100;
const pastChanges = 200;

export class VariableWatch {
  readonly changes = new Changes();
  connection: ConnectionKind = "connecting";
  failure: string | undefined;
  readonly #api: Api;
  readonly #workflowId: string;
  readonly #variables = new Map<string, WatchedVariable>();
  readonly #stop = new AbortController();

  constructor(api: Api, workflowId: string) {
    this.#api = api;
    this.#workflowId = workflowId;
  }

  get variables(): readonly WatchedVariable[] {
    return [...this.#variables.values()].sort((a, b) => a.name.localeCompare(b.name));
  }

  async run(): Promise<void> {
    const past = this.#readPast();
    await whilePresent((signal) => this.#watch(signal), this.#stop.signal);
    await past;
  }

  async #watch(signal: AbortSignal): Promise<void> {
    for (const each of this.#variables.values()) each.value = undefined;
    try {
      for await (const item of this.#api.watchVariables(this.#workflowId, { signal })) {
        if (item.kind === "restarted") for (const each of this.#variables.values()) each.value = undefined;
        if (item.kind === "updates") for (const update of item.updates) this.#take(update);
        this.connection =
          item.kind === "interrupted" ? "reconnecting" : item.kind === "ended" ? "ended" : "live";
        this.changes.touch();
      }
    } catch (error) {
      if (signal.aborted) return;
      this.connection = "failed";
      this.failure = ConnectError.from(error).rawMessage;
      this.changes.touch();
    }
  }

  stop(): void {
    this.#stop.abort();
  }

  #take({ updateType, variable, offset, source, timestampMs }: VariableUpdate): void {
    if (variable === undefined) return;
    const found = this.#variable(variable.name);
    const value = updateType === VariableUpdateType.DELETED ? undefined : toText(variable.value);
    Object.assign(found, { value, version: Number(variable.version) });
    const isInitial = updateType === VariableUpdateType.INITIAL_VALUE;
    found.source = isInitial ? variable.source : source;
    found.updatedMs = Number(isInitial ? variable.updatedMs : timestampMs);
    addChange(found, {
      offset: Number(isInitial ? variable.offset : offset),
      version: found.version,
      value,
      source: found.source,
      atMs: found.updatedMs,
    });
  }

  async #readPast(): Promise<void> {
    try {
      const { events } = await this.#api.streams.readEvents(
        {
          workflowId: this.#workflowId,
          descending: true,
          limit: pastChanges,
          types: [EventType.VARIABLE_SET, EventType.VARIABLE_DELETED],
        },
        { signal: this.#stop.signal },
      );
      for (const event of events) this.#takePast(event);
      this.changes.touch();
    } catch {
      // Without the past the panel still shows what is.
    }
  }

  #takePast({ type, payload, offset, recordedMs }: Event): void {
    if (payload.case !== "text") return;
    const { name, value, version, source } = fieldsOf(payload.value);
    if (typeof name !== "string") return;
    addChange(this.#variable(name), {
      offset: Number(offset),
      version: Number(version),
      value: type === EventType.VARIABLE_DELETED ? undefined : JSON.stringify(value),
      source: textIn(source),
      atMs: Number(recordedMs),
    });
  }

  #variable(name: string): WatchedVariable {
    let found = this.#variables.get(name);
    if (found === undefined) {
      found = { name, value: undefined, version: 0, source: "", updatedMs: 0, history: [] };
      this.#variables.set(name, found);
    }
    return found;
  }
}

function addChange(variable: WatchedVariable, change: Change): void {
  if (variable.history.some(({ offset }) => offset === change.offset)) return;
  variable.history = [...variable.history, change].sort((a, b) => b.offset - a.offset).slice(0, mostChanges);
}

const toText = (value: Value | undefined): string =>
  value === undefined ? "null" : JSON.stringify(toJson(ValueSchema, value));
