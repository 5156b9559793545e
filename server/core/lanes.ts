/**
 * The bounded place where commands wait for their group commit. Guarantees:
 * - a stream is one FIFO, whatever lanes its commands came by; it is scheduled in the highest lane of what waits in it;
 * - of a stream that has commands in a group no other group takes any, until that one is released;
 * - between streams: deficit round robin over tenants, then over the tenant's streams;
 * - a lane that always has work leaves the lower ones their share of each group, so none starves;
 * - what waits and what is in flight is bounded by entries and bytes (`LaneUsage`): `offer` answers "full" beyond.
 */
import type { Command, CommandResult, Lane } from "./command.ts";
import { DeficitRing, type RingMember } from "./deficit-ring.ts";
import { Fifo } from "./fifo.ts";
import { Hazards } from "./hazards.ts";
import { LaneUsage } from "./lane-usage.ts";
import { limits } from "./limits.ts";

/** A command with the place where its result goes. Settled exactly once. */
export interface Queued {
  readonly command: Command;
  readonly queuedMs: number;
  settle(outcome: CommandResult | Error): void;
}

/** Told of a lane and whose share of it passed a step; undefined: the lane itself. */
export type PressureListener = (lane: Lane, changed: readonly (string | undefined)[]) => void;

export type Offer = "queued" | "full" | "closed";

const laneOrder: readonly Lane[] = ["high", "normal", "low"];
/** Part of a group that a lane gets before the rest goes by rank. */
const share: Record<Lane, number> = { high: 0.6, normal: 0.3, low: 0.1 };
/** Where the state of a session changes: just above the level at which pressure is over, where it begins, full. */
const pressureSteps: readonly number[] = [0.5 + Number.EPSILON, 0.8, 1];
/** Entries, or units of 2 KiB, that a tenant or stream may send a turn, at least. */
const quantum = 100;
/**
 * Groups that a tenant's streams may fill in a round at least. Where few streams write, a group then holds some of them and leaves
 * others to one that goes beside it; with all of them in the first one nobody could go beside it.
 */
const groupsOfRound = 2;
const bytesPerUnit = limits.groupBytes / limits.groupEntries;

/** Where commands of several tenants came, the lanes count as shared for so long, ms. */
const sharedForMs = 1000;

const costOf = (command: Command): number => Math.max(command.entries, command.bytes / bytesPerUnit);

class StreamQueue implements RingMember {
  readonly streamId: string;
  readonly tenant: string;
  readonly items = new Fifo<Queued>();
  readonly counts: Record<Lane, number> = { high: 0, normal: 0, low: 0 };
  /** What waits in it. */
  entries = 0;
  bytes = 0;
  /** A group that is under way has commands of it. */
  busy = false;
  /** Not before then: its lock was held by somebody. */
  heldUntilMs = 0;
  /** Was held: goes alone until a commit succeeds, so that it delays nobody else. */
  suspect = false;
  /** Out of the rings for this group. */
  sealed = false;

  constructor(streamId: string, tenant: string) {
    this.streamId = streamId;
    this.tenant = tenant;
  }

  get lane(): Lane {
    return this.counts.high > 0 ? "high" : this.counts.normal > 0 ? "normal" : "low";
  }

  headCost(): number | undefined {
    const head = this.items.peek();
    return this.sealed || this.busy || head === undefined ? undefined : costOf(head.command);
  }
}

class TenantQueue implements RingMember {
  readonly streams: DeficitRing<StreamQueue>;

  constructor(round: () => number) {
    this.streams = new DeficitRing(quantum, round);
  }

  headCost(): number | undefined {
    return this.streams.pick()?.headCost();
  }
}

export class Lanes {
  readonly usage = new LaneUsage();
  readonly #rings: Record<Lane, DeficitRing<TenantQueue>> = {
    high: new DeficitRing(quantum),
    normal: new DeficitRing(quantum),
    low: new DeficitRing(quantum),
  };
  readonly #tenants: Record<Lane, Map<string, TenantQueue>> = {
    high: new Map(),
    normal: new Map(),
    low: new Map(),
  };
  readonly #streams = new Map<string, StreamQueue>();
  readonly #now: () => number;
  readonly #onSpace = new Set<() => void>();
  readonly #onPressure = new Set<PressureListener>();
  /** How many of the steps are passed, by tenant and for the lane itself; none: not here. */
  readonly #steps: Record<Lane, Map<string | undefined, number>> = {
    high: new Map(),
    normal: new Map(),
    low: new Map(),
  };
  #waiting = 0;
  /** What waits in streams that are not busy. */
  readonly #ready = { commands: 0, entries: 0, bytes: 0 };
  #lastTenant: string | undefined;
  #sharedUntilMs = 0;
  #closed = false;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Commands that are not settled yet. */
  get waiting(): number {
    return this.#waiting;
  }

  offer(command: Command, settle: (outcome: CommandResult | Error) => void): Offer {
    if (this.#closed) return "closed";
    if (!this.usage.take(command.lane, command.tenant, command)) return "full";
    this.#notePressure(command);
    this.#noteTenant(command.tenant);
    this.#waiting++;
    const queued: Queued = {
      command,
      queuedMs: this.#now(),
      settle: (outcome) => {
        this.usage.give(command.lane, command.tenant, command);
        this.#waiting--;
        this.#notePressure(command);
        settle(outcome);
        for (const wake of this.#onSpace) wake();
      },
    };
    this.#enqueue(queued, "back");
    return "queued";
  }

  /** Puts commands that were taken and not stored back where they came from, in their order. */
  putBack(items: readonly Queued[], holdUntilMs: number): void {
    for (const item of items.toReversed()) this.#enqueue(item, "front");
    for (const item of items) {
      const queue = this.#streams.get(item.command.streamId);
      if (queue === undefined) continue;
      queue.heldUntilMs = holdUntilMs;
      queue.suspect = true;
    }
  }

  /** Is there something that a group could take? */
  get hasReady(): boolean {
    return this.#ready.commands > 0;
  }

  /** Is there as much as fits into one group? */
  get hasFullGroup(): boolean {
    return this.#ready.entries >= this.#mostEntries() || this.#ready.bytes >= limits.groupBytes;
  }

  /**
   * What goes into the next group: at most 1,000 entries (250 of several tenants) and 2 MiB, or one larger command alone. Its
   * streams are busy until it is released.
   */
  take(): Queued[] {
    const group: Queued[] = [];
    const sealed: StreamQueue[] = [];
    const hazards = new Hazards();
    const entries = this.#mostEntries();
    const room = { entries, bytes: limits.groupBytes };
    for (const lane of laneOrder) this.#fill(lane, entries * share[lane], group, room, hazards, sealed);
    for (const lane of laneOrder) this.#fill(lane, entries, group, room, hazards, sealed);
    for (const { command } of group) this.#setBusy(command.streamId, true);
    for (const queue of sealed) {
      queue.sealed = false;
      this.#settle(queue);
    }
    return group;
  }

  /** The group is under way no more; what of it was not stored has been put back before. */
  release(group: readonly Queued[]): void {
    for (const { command } of group) this.#setBusy(command.streamId, false);
  }

  #setBusy(streamId: string, busy: boolean): void {
    const queue = this.#streams.get(streamId);
    if (queue === undefined || queue.busy === busy) return;
    queue.busy = busy;
    const sign = busy ? -1 : 1;
    this.#countReady(queue.items.length, queue, sign);
    if (!busy) this.#settle(queue);
  }

  /**
   * A group of a thousand entries takes tens of milliseconds when all connections are busy, and who comes next waits for it:
   * one of 250 costs a few percent more for each entry, and a small tenant beside one that floods waits a third as long.
   */
  #mostEntries(): number {
    return this.#now() < this.#sharedUntilMs ? limits.sharedGroupEntries : limits.groupEntries;
  }

  readonly #streamsRound = (): number => groupsOfRound * this.#mostEntries();

  #noteTenant(tenant: string): void {
    if (tenant !== this.#lastTenant && this.#lastTenant !== undefined)
      this.#sharedUntilMs = this.#now() + sharedForMs;
    this.#lastTenant = tenant;
  }

  /** Puts a stream where its commands say, or forgets it if it has none. */
  #settle(queue: StreamQueue): void {
    if (queue.busy) return;
    if (queue.items.length > 0) this.#schedule(queue);
    else this.#forgetIfEmpty(queue);
  }

  /** It may still stand in a lower ring, where it is then found empty. */
  #schedule(queue: StreamQueue): void {
    const tenants = this.#tenants[queue.lane];
    const tenant = tenants.get(queue.tenant) ?? new TenantQueue(this.#streamsRound);
    tenants.set(queue.tenant, tenant);
    tenant.streams.add(queue);
    this.#rings[queue.lane].add(tenant);
  }

  #forgetIfEmpty(queue: StreamQueue): void {
    if (queue.items.length > 0 || queue.busy) return;
    this.#streams.delete(queue.streamId);
    for (const lane of laneOrder) {
      const tenant = this.#tenants[lane].get(queue.tenant);
      if (tenant !== undefined && tenant.headCost() === undefined) this.#tenants[lane].delete(queue.tenant);
    }
  }

  /** Counts what comes into a stream, or leaves it. */
  #count(queue: StreamQueue, { entries, bytes, lane }: Command, sign: 1 | -1): void {
    queue.counts[lane] += sign;
    queue.entries += sign * entries;
    queue.bytes += sign * bytes;
    if (!queue.busy) this.#countReady(1, { entries, bytes }, sign);
  }

  #countReady(
    commands: number,
    of: { readonly entries: number; readonly bytes: number },
    sign: 1 | -1,
  ): void {
    this.#ready.commands += sign * commands;
    this.#ready.entries += sign * of.entries;
    this.#ready.bytes += sign * of.bytes;
  }

  #fill(
    lane: Lane,
    most: number,
    group: Queued[],
    room: { entries: number; bytes: number },
    hazards: Hazards,
    sealed: StreamQueue[],
  ): void {
    let left = most;
    const seal = (queue: StreamQueue) => {
      queue.sealed = true;
      sealed.push(queue);
    };
    while (left > 0 && room.entries > 0 && room.bytes > 0) {
      const tenant = this.#rings[lane].pick();
      const queue = tenant?.streams.pick();
      const item = queue?.items.peek();
      if (tenant === undefined || queue === undefined || item === undefined) return;
      if (queue.lane !== lane) {
        // What put it into this lane is gone: it leaves this ring, as a sealed one does, for that of its lane.
        queue.sealed = true;
        tenant.streams.pick();
        queue.sealed = false;
        this.#schedule(queue);
        continue;
      }
      const { command } = item;
      if (queue.heldUntilMs > this.#now() || (queue.suspect && group.length > 0)) {
        seal(queue);
        continue;
      }
      const fits = command.entries <= room.entries && command.bytes <= room.bytes;
      if (!fits && group.length > 0) {
        room.entries = 0;
        return;
      }
      if (!hazards.admit(command)) {
        seal(queue);
        continue;
      }
      queue.items.shift();
      this.#count(queue, command, -1);
      const cost = costOf(command);
      tenant.streams.charge(queue, cost);
      this.#rings[lane].charge(tenant, cost);
      left -= cost;
      group.push(item);
      room.entries -= command.entries;
      room.bytes -= command.bytes;
      if (queue.suspect) {
        room.entries = 0;
        if (queue.items.length > 0) seal(queue);
        return;
      }
    }
  }

  /** Notes that a stream could be written again. */
  clearSuspicion(streamId: string): void {
    const queue = this.#streams.get(streamId);
    if (queue !== undefined) queue.suspect = false;
  }

  /** When the first held stream may go; undefined: none is held. */
  nextReleaseMs(): number | undefined {
    let next: number | undefined;
    for (const queue of this.#streams.values()) {
      if (queue.heldUntilMs > 0 && queue.items.length > 0 && !queue.busy)
        next = Math.min(next ?? Number.POSITIVE_INFINITY, queue.heldUntilMs);
    }
    return next;
  }

  /** Takes out what the test picks: of one stream, or of all. */
  takeOut(test: (item: Queued) => boolean, streamId?: string): Queued[] {
    const only = streamId === undefined ? undefined : this.#streams.get(streamId);
    const queues = streamId === undefined ? [...this.#streams.values()] : only === undefined ? [] : [only];
    const out: Queued[] = [];
    for (const queue of queues) {
      for (const item of queue.items.takeOut(test)) {
        this.#count(queue, item.command, -1);
        out.push(item);
      }
      this.#forgetIfEmpty(queue);
    }
    return out;
  }

  /** Called whenever something was settled, hence there may be room. Returns how to stop it. */
  onSpace(listener: () => void): () => void {
    this.#onSpace.add(listener);
    return () => this.#onSpace.delete(listener);
  }

  /** Called when a tenant's share of a lane, or a lane, passes one of `pressureSteps`. Returns how to stop it. */
  onPressure(listener: PressureListener): () => void {
    this.#onPressure.add(listener);
    return () => this.#onPressure.delete(listener);
  }

  /** Nobody is told of what does not change their state: a step is passed rarely, entries come all the time. */
  #notePressure({ lane, tenant }: Command): void {
    if (this.#onPressure.size === 0) return;
    if (this.usage.isFarFromFull()) {
      this.#forgetSteps();
      return;
    }
    const steps = this.#steps[lane];
    const changed = [tenant, undefined].filter((of) => {
      const level = this.usage.pressure(lane, of);
      const step = pressureSteps.filter((at) => level >= at).length;
      const before = steps.get(of) ?? 0;
      if (step === 0) steps.delete(of);
      else steps.set(of, step);
      return step !== before;
    });
    if (changed.length > 0) for (const wake of this.#onPressure) wake(lane, changed);
  }

  /** Nobody has passed a step any more: also those hear of it who hold nothing now, and so settle nothing. */
  #forgetSteps(): void {
    for (const lane of laneOrder) {
      const steps = this.#steps[lane];
      if (steps.size === 0) continue;
      const changed = [...steps.keys()];
      steps.clear();
      for (const wake of this.#onPressure) wake(lane, changed);
    }
  }

  /** Takes nothing more. */
  close(): void {
    this.#closed = true;
  }

  #enqueue(item: Queued, where: "front" | "back"): void {
    const { command } = item;
    let queue = this.#streams.get(command.streamId);
    if (queue === undefined) {
      queue = new StreamQueue(command.streamId, command.tenant);
      this.#streams.set(command.streamId, queue);
    }
    if (where === "front") queue.items.unshift(item);
    else queue.items.push(item);
    this.#count(queue, command, 1);
    if (!queue.busy) this.#schedule(queue);
  }
}

export const isImpatient = (item: Queued, now: number): boolean =>
  item.command.patienceMs !== undefined && now - item.queuedMs > item.command.patienceMs;
