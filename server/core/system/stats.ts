/**
 * What GetStats tells: how this instance is, what it did since it started, and its busiest streams. Counters are kept where
 * things happen (traffic.ts); positions of readers are looked at here, when somebody asks: O(readers).
 *
 * It asks nobody else, so it also answers while the database is away. For one tenant it tells that tenant's own numbers:
 * lanes are shared, so their depth is what the tenant has waiting, and their pressure the one that its writers feel.
 */
import type { Clock } from "../clock.ts";
import type { Lane } from "../command.ts";
import type { Hub } from "../hub.ts";
import type { LaneReading, LaneUsage } from "../lane-usage.ts";
import type { LiveStream } from "../live-stream.ts";
import type { Sessions } from "../session/sessions.ts";
import type { StreamOwner, Traffic } from "../traffic.ts";
import type { HealthWatch } from "./health.ts";

export interface StatsDeps {
  readonly instanceId: string;
  readonly clock: Clock;
  readonly startedMs: number;
  readonly health: Pick<HealthWatch, "status">;
  readonly hub: Pick<Hub, "live" | "isChecked">;
  readonly sessions: Pick<Sessions, "attached">;
  readonly lanes: LaneUsage;
  readonly traffic: Pick<Traffic, "sums">;
}

export interface StreamStats {
  readonly streamId: string;
  readonly owner: StreamOwner;
  readonly readers: number;
  readonly windowEntries: number;
  readonly tailOffset: number;
  readonly floorOffset: number;
  readonly slowestReaderLag: number;
  readonly delivered: number;
  readonly conflated: number;
  readonly storeReads: number;
  readonly lastEventMs: number;
  readonly isHealthy: boolean;
}

export interface LaneStats extends LaneReading {
  readonly lane: Lane;
  readonly pressure: number;
}

export interface Stats {
  readonly instanceId: string;
  readonly uptimeMs: number;
  readonly status: string;
  readonly totalStreams: number;
  readonly healthyStreams: number;
  readonly subscribers: number;
  readonly sessions: number;
  readonly published: number;
  readonly delivered: number;
  readonly trimmed: number;
  /** Busiest first. */
  readonly streams: readonly StreamStats[];
  readonly lanes: readonly LaneStats[];
}

const lanes: readonly Lane[] = ["high", "normal", "low"];

/** Of one tenant; undefined: of all. */
export function readStats(deps: StatsDeps, tenant: string | undefined, maxStreams: number): Stats {
  const streams: StreamStats[] = [];
  for (const live of deps.hub.live()) {
    if (tenant !== undefined && live.traffic.owner.tenant !== tenant) continue;
    const stats = readStream(live, deps.hub.isChecked(live));
    // One that is about to have its first reader, or has just lost its last.
    if (stats.readers > 0) streams.push(stats);
  }
  return {
    instanceId: deps.instanceId,
    uptimeMs: deps.clock.now() - deps.startedMs,
    status: deps.health.status,
    totalStreams: streams.length,
    healthyStreams: streams.filter(({ isHealthy }) => isHealthy).length,
    subscribers: streams.reduce((sum, { readers }) => sum + readers, 0),
    sessions: deps.sessions.attached(tenant),
    ...deps.traffic.sums(tenant),
    streams: streams.sort(byBusiness).slice(0, maxStreams),
    lanes: lanes.map((lane) => ({
      lane,
      ...deps.lanes.read(lane, tenant),
      pressure: deps.lanes.pressure(lane, tenant),
    })),
  };
}

function readStream(live: LiveStream, isChecked: boolean): StreamStats {
  let readers = 0;
  let slowest = live.tail;
  for (const position of live.positions()) {
    readers++;
    slowest = Math.min(slowest, position);
  }
  const { owner, delivered, conflated, storeReads, lastEventMs } = live.traffic;
  return {
    streamId: live.streamId,
    owner,
    readers,
    windowEntries: live.window.length,
    tailOffset: live.tail,
    floorOffset: live.floor,
    slowestReaderLag: live.tail - slowest,
    delivered,
    conflated,
    storeReads,
    lastEventMs,
    // One that retention has passed loses nothing while what it needs is still in the window.
    isHealthy: isChecked && slowest >= Math.min(live.floor, live.window.from - 1),
  };
}

/** The same order each time, also among streams that nothing was sent of yet. */
const byBusiness = (a: StreamStats, b: StreamStats): number =>
  b.delivered - a.delivered || b.readers - a.readers || (a.streamId < b.streamId ? -1 : 1);
