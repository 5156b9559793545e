/**
 * Changes of variables, as watchers get them: read from the entries of the stream. All watchers that get an entry from the
 * same window get the same update, so that what is made of it is made once.
 */
import type { SentEvent } from "../batch.ts";
import { originalOf } from "../conflate.ts";
import { EventType, type StoredEvent } from "../event.ts";
import { type Constraints, type Variable, VariableType } from "./variable.ts";

export interface VariableUpdate {
  readonly kind: "initial" | "set" | "deleted";
  readonly name: string;
  /** Of the change; of initial values: of the snapshot. */
  readonly offset: number;
  /** Older updates that this one stands for. */
  readonly replaced: number;
  /** Length of the entry's payload, which windows are bounded by; 0: of no entry. */
  readonly entryLength: number;
  /**
   * What there is to tell. Read when it is asked for and kept by nobody: as objects, values are up to ten times as large as
   * in the entry, and a window is bounded by that.
   */
  content(): {
    /** After the change; of a deleted one: the last state, with the source and the time of the deletion. */
    readonly variable: Variable;
    /** As JSON.parse gives it; undefined: there was none. */
    readonly oldValue: unknown;
  };
  /** The same, standing for none, if that is known. */
  readonly original?: VariableUpdate;
}

/** The payload of VARIABLE_SET and VARIABLE_DELETED, as event.proto names it. */
interface Payload {
  readonly name: string;
  readonly type: keyof typeof VariableType;
  readonly value?: unknown;
  readonly oldValue?: unknown;
  readonly constraints?: Constraints;
  readonly metadata: Readonly<Record<string, string>>;
  readonly version: number;
  readonly source: string;
  readonly createdMs: number;
}

const known = new WeakMap<StoredEvent, VariableUpdate>();

export function toUpdate(event: SentEvent): VariableUpdate {
  // A conflated one is each watcher's own: only what it stands for is, the rest is read once.
  const copied = originalOf(event);
  if (copied !== undefined) {
    const original = toUpdate(copied);
    return { ...original, replaced: event.replaced ?? 0, original };
  }
  let update = known.get(event);
  if (update === undefined) {
    update = {
      kind: event.type === EventType.VARIABLE_SET ? "set" : "deleted",
      name: read(event).name,
      offset: event.offset,
      replaced: event.replaced ?? 0,
      entryLength: (event.payload as string).length,
      content: () => {
        const payload = read(event);
        return { variable: toVariable(event, payload), oldValue: payload.oldValue };
      },
    };
    known.set(event, update);
  }
  return update;
}

const read = (event: StoredEvent): Payload => JSON.parse(event.payload as string) as Payload;

function toVariable({ workflowId, type, offset, recordedMs }: StoredEvent, payload: Payload): Variable {
  return {
    workflowId,
    name: payload.name,
    type: VariableType[payload.type],
    value: type === EventType.VARIABLE_SET ? payload.value : payload.oldValue,
    constraints: payload.constraints,
    metadata: payload.metadata,
    version: payload.version,
    source: payload.source,
    offset,
    createdMs: payload.createdMs,
    updatedMs: recordedMs,
  };
}
