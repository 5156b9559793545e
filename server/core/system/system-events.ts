/**
 * What happens in the service, told while it happens: best effort, not stored. Events of this instance and, by signals, of
 * the others lie in one bounded ring, in the order in which they came here; a reader holds a place in it.
 *
 * `emit` neither waits nor throws, so that whoever emits works on as if nobody listened. An event of a tenant is for that
 * tenant and the admin key; one without a tenant is about an instance and for the admin key alone. A reader that falls
 * out of the ring, or an instance whose signals are lost, is told of as a WARNING with the number of missed events.
 */
import { limits } from "../limits.ts";
import type { Bus, SignalBody } from "../ports.ts";

/** Numbers of tributary.v1.SystemEventType. */
export const SystemEventType = {
  STARTUP: 1,
  SHUTDOWN: 2,
  ERROR: 3,
  WARNING: 4,
  SESSION_ATTACHED: 5,
  SESSION_DETACHED: 6,
  SESSION_CLOSED: 7,
  BACKPRESSURE_ENTERED: 8,
  BACKPRESSURE_LEFT: 9,
  HEALTH_CHANGED: 10,
  ENTRY_DROPPED: 11,
  TRIMMED: 12,
} as const;
export type SystemEventType = (typeof SystemEventType)[keyof typeof SystemEventType];

export interface SystemEvent {
  readonly type: number;
  readonly instanceId: string;
  readonly component: string;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** undefined: it is about an instance. */
  readonly tenant: string | undefined;
  /** Database clock, ms. */
  readonly timestampMs: number;
}

export interface NewSystemEvent {
  readonly type: SystemEventType;
  readonly component: string;
  readonly message: string;
  readonly tenant?: string | undefined;
  readonly metadata?: Readonly<Record<string, string | undefined>>;
}

export interface SystemEventsDeps {
  readonly bus: Pick<Bus, "signal" | "onSignal">;
  readonly instanceId: string;
  /** ms by the database's clock. */
  readonly databaseNow: () => number;
  /** For the log alone: an event about it would fail again. */
  readonly onFailure: (message: string, error: Error) => void;
}

/** Somebody who reads: told when something for them is new. */
export interface SystemEventListener {
  isFor(event: SystemEvent): boolean;
  ring(): void;
}

/** How many events came for a listener since it joined; with what it was given, that tells what it missed. */
export interface Joined {
  readonly came: number;
}

const topic = "system-events";

export class SystemEvents {
  readonly #deps: SystemEventsDeps;
  readonly #ring: SystemEvent[] = [];
  /** Serial of the first one kept. */
  #first = 0;
  #sent = 0;
  readonly #listeners = new Map<SystemEventListener, { came: number }>();
  /** Of each other instance: number of its last event that came here. */
  readonly #heard = new Map<string, number>();
  #unlisten = () => {};

  constructor(deps: SystemEventsDeps) {
    this.#deps = deps;
  }

  get instanceId(): string {
    return this.#deps.instanceId;
  }

  /** Begins to hear the other instances. */
  async open(): Promise<void> {
    this.#unlisten = await this.#deps.bus.onSignal(topic, (body) => this.#hear(body));
  }

  close(): void {
    this.#unlisten();
  }

  emit(event: NewSystemEvent): void {
    try {
      const full = this.#complete(event);
      this.#push(full);
      this.#sent++;
      this.#deps.bus.signal(topic, { ...full, tenant: full.tenant ?? null, number: this.#sent });
    } catch (error) {
      this.#deps.onFailure("a system event could not be told", error as Error);
    }
  }

  /** A WARNING for the readers of this instance alone: the others see for themselves. */
  warnHere(component: string, message: string, metadata: Readonly<Record<string, string>>): void {
    this.#push(this.warning(component, message, metadata));
  }

  /** Calls that read them here. */
  get listeners(): number {
    return this.#listeners.size;
  }

  /** Serial of the next event. */
  get head(): number {
    return this.#first + this.#ring.length;
  }

  /** Serial of the oldest event that is still here. */
  get first(): number {
    return this.#first;
  }

  at(serial: number): SystemEvent | undefined {
    return this.#ring[serial - this.#first];
  }

  join(listener: SystemEventListener): Joined {
    const joined = { came: 0 };
    this.#listeners.set(listener, joined);
    return joined;
  }

  leave(listener: SystemEventListener): void {
    this.#listeners.delete(listener);
  }

  /** A WARNING of this instance that is for one reader alone, or for this instance's readers. */
  warning(component: string, message: string, metadata: Readonly<Record<string, string>>): SystemEvent {
    return this.#complete({ type: SystemEventType.WARNING, component, message, metadata });
  }

  #complete({ type, component, message, tenant, metadata = {} }: NewSystemEvent): SystemEvent {
    const details: Record<string, string> = {};
    let left = limits.systemEventBytes - limits.systemEventBytes / 4;
    for (const [name, value] of Object.entries({ tenant, ...metadata })) {
      if (value === undefined || left <= 0) continue;
      details[name] = cut(value, Math.min(left, 1024));
      left -= name.length + Buffer.byteLength(details[name]);
    }
    return {
      type,
      instanceId: this.#deps.instanceId,
      component,
      message: cut(message, limits.systemEventBytes / 4),
      metadata: details,
      tenant,
      timestampMs: Math.round(this.#deps.databaseNow()),
    };
  }

  #push(event: SystemEvent): void {
    this.#ring.push(event);
    if (this.#ring.length > limits.systemEvents) {
      this.#ring.shift();
      this.#first++;
    }
    for (const [listener, joined] of this.#listeners) {
      if (!listener.isFor(event)) continue;
      joined.came++;
      listener.ring();
    }
  }

  #hear(body: SignalBody): void {
    const heard = fromSignal(body);
    if (heard === undefined || heard.event.instanceId === this.#deps.instanceId) return;
    const { event, number } = heard;
    const last = this.#heard.get(event.instanceId);
    if (last !== undefined && number <= last) return; // doubled; or late, and counted as missed already
    this.#heard.delete(event.instanceId);
    this.#heard.set(event.instanceId, number);
    if (this.#heard.size > mostInstances) this.#heard.delete(this.#heard.keys().next().value as string);
    const missed = last === undefined ? 0 : number - last - 1;
    if (missed > 0) {
      const metadata = { instance_id: event.instanceId, missed: String(missed) };
      const message = `${missed} events of instance ${event.instanceId} were lost on the way here`;
      this.warnHere("bus", message, metadata);
    }
    this.#push(event);
  }
}

/** Instances whose last number is remembered: those heard last. */
const mostInstances = 1000;

/** What another instance said; undefined: not something that this version understands. */
function fromSignal(body: SignalBody): { event: SystemEvent; number: number } | undefined {
  if (typeof body !== "object" || body === null || Array.isArray(body)) return undefined;
  const { number, tenant, ...event } = body as Record<string, unknown>;
  const texts = [event["instanceId"], event["component"], event["message"]];
  // What could not be written to a reader would end its call, and that of every other reader.
  if (!isCount(number) || !isCount(event["type"]) || event["type"] >= 2 ** 31) return undefined;
  if (!isCount(event["timestampMs"]) || !texts.every((text) => typeof text === "string")) return undefined;
  if (typeof event["metadata"] !== "object" || event["metadata"] === null) return undefined;
  if (!Object.values(event["metadata"]).every((value) => typeof value === "string")) return undefined;
  if (tenant !== null && typeof tenant !== "string") return undefined;
  return { event: { ...(event as unknown as SystemEvent), tenant: tenant ?? undefined }, number };
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** At most so many bytes, whole characters only. */
function cut(text: string, bytes: number): string {
  if (Buffer.byteLength(text) <= bytes) return text.toWellFormed();
  return Buffer.from(text)
    .subarray(0, bytes)
    .toString()
    .replace(/\uFFFD+$/, "");
}
