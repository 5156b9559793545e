/**
 * What the gauges and counters of /metrics are, each by name, with how it is read when somebody asks: O(readers), and nobody
 * but this process is asked, so it answers while the database is away. No label has values that clients could multiply.
 */
import type { Lane } from "../core/command.ts";
import type { Hub } from "../core/hub.ts";
import type { OpenCalls } from "../core/open-call.ts";
import type { Bus, ScopeKey } from "../core/ports.ts";
import { SessionState } from "../core/session/messages.ts";
import type { Sessions } from "../core/session/sessions.ts";
import { readStats, type Stats, type StatsDeps } from "../core/system/stats.ts";
import type { Traffic } from "../core/traffic.ts";

export interface Pool {
  readonly totalCount: number;
  readonly idleCount: number;
  readonly waitingCount: number;
}

export interface ReadingsDeps extends StatsDeps {
  readonly hub: Pick<Hub, "live" | "isChecked">;
  readonly sessions: Pick<Sessions, "attached" | "states">;
  readonly traffic: Traffic;
  readonly bus: Pick<Bus, "dropped">;
  readonly calls: Pick<OpenCalls, "count">;
  readonly watchers: () => { readonly registry: number; readonly system_events: number };
  readonly pools: readonly Pool[];
  readonly poolSize: number;
}

interface Snapshot {
  readonly deps: ReadingsDeps;
  readonly stats: Stats;
}

export interface Reading {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge";
  /** undefined: none. */
  readonly label: string | undefined;
  /** By the values of the label; "" without one. */
  readonly read: (snapshot: Snapshot) => Readonly<Record<string, number>>;
}

export const readNow = (deps: ReadingsDeps): Snapshot => ({
  deps,
  stats: readStats(deps, undefined, Number.POSITIVE_INFINITY),
});

type Values = Readonly<Record<string, number>>;

const counter = (name: string, help: string, read: (snapshot: Snapshot) => number): Reading => ({
  name: `tributary_${name}_total`,
  help,
  type: "counter",
  label: undefined,
  read: (snapshot) => ({ "": read(snapshot) }),
});
const counterBy = (
  label: string,
  name: string,
  help: string,
  read: (snapshot: Snapshot) => Values,
): Reading => ({
  name: `tributary_${name}_total`,
  help,
  type: "counter",
  label,
  read,
});
const gauge = (name: string, help: string, read: (snapshot: Snapshot) => number): Reading => ({
  name: `tributary_${name}`,
  help,
  type: "gauge",
  label: undefined,
  read: (snapshot) => ({ "": read(snapshot) }),
});
const gaugeBy = (
  label: string,
  name: string,
  help: string,
  read: (snapshot: Snapshot) => Values,
): Reading => ({
  name: `tributary_${name}`,
  help,
  type: "gauge",
  label,
  read,
});

const sum = (pools: readonly Pool[], of: (pool: Pool) => number): number =>
  pools.reduce((all, pool) => all + of(pool), 0);

const lanes = (of: (lane: Stats["lanes"][number]) => number) => (snapshot: Snapshot) =>
  Object.fromEntries(snapshot.stats.lanes.map((lane) => [lane.lane, of(lane)])) as Record<Lane, number>;

export const readings: readonly Reading[] = [
  counter(
    "events_published",
    "Entries of every kind that this instance committed.",
    ({ stats }) => stats.published,
  ),
  counter("events_delivered", "Entries given to the calls of readers.", ({ stats }) => stats.delivered),
  counter(
    "events_replayed",
    "Of those delivered, entries that were read from the store.",
    ({ deps }) => deps.traffic.counts.replayed,
  ),
  counter(
    "events_conflated",
    "Of those delivered, entries that stand for others.",
    ({ deps }) => deps.traffic.counts.conflated,
  ),
  counter(
    "events_replaced",
    "Entries that were not sent since a conflated one stands for them.",
    ({ deps }) => deps.traffic.counts.replaced,
  ),
  counter(
    "events_dropped",
    "Accepted events that could not be stored.",
    ({ deps }) => deps.traffic.counts.dropped,
  ),
  counter(
    "events_trimmed",
    "Entries that retention enforced by this instance took from readers.",
    ({ stats }) => stats.trimmed,
  ),
  counterBy(
    "reason",
    "rejections",
    "Refusals that writers were told, by the reason.",
    ({ deps }) => deps.traffic.counts.rejections,
  ),
  counterBy(
    "limit",
    "quota_refusals",
    "Refusals for a limit of a tenant, by the limit.",
    ({ deps }) => deps.traffic.counts.quotas,
  ),
  counterBy(
    "failure",
    "commit_failures",
    "Group commits that failed; what is in them is tried again, split or answered.",
    ({ deps }) => deps.traffic.counts.commitFailures,
  ),
  counter(
    "window_hits",
    "Messages to readers that came from a window in memory.",
    ({ deps }) => deps.traffic.counts.windowHits,
  ),
  counter(
    "store_reads",
    "Pages that were read from the store for readers.",
    ({ deps }) => deps.traffic.counts.storeReads,
  ),
  counterBy(
    "by",
    "notices_healed",
    "Times that entries were found which no notice had told of.",
    ({ deps }) => deps.traffic.counts.healed,
  ),
  counter("notices_dropped", "Notices and signals that could not be sent to the bus.", ({ deps }) =>
    deps.bus.dropped(),
  ),
  gaugeBy("kind", "readers", "Open subscriptions, by what they read.", readersByKind),
  gaugeBy("kind", "open_calls", "Open streaming calls.", ({ deps }) => deps.calls.count()),
  gaugeBy("state", "sessions", "Sessions whose connection is here, by their state.", sessionsByState),
  gauge("live_streams", "Streams with readers here.", ({ stats }) => stats.totalStreams),
  gauge(
    "unhealthy_streams",
    "Of those, streams whose tail was not checked lately, or with a reader behind the floor.",
    ({ stats }) => stats.totalStreams - stats.healthyStreams,
  ),
  gauge("window_entries", "Recent entries kept in memory for readers.", ({ stats }) =>
    stats.streams.reduce((sum, { windowEntries }) => sum + windowEntries, 0),
  ),
  gauge(
    "slowest_reader_lag_entries",
    "Offsets between the tail and the reader furthest behind.",
    ({ stats }) => stats.streams.reduce((most, { slowestReaderLag }) => Math.max(most, slowestReaderLag), 0),
  ),
  gaugeBy(
    "lane",
    "lane_depth_entries",
    "Entries that wait for their commit.",
    lanes(({ entries }) => entries),
  ),
  gaugeBy(
    "lane",
    "lane_capacity_entries",
    "Entries that a lane holds.",
    lanes(({ capacityEntries }) => capacityEntries),
  ),
  gaugeBy(
    "lane",
    "lane_depth_bytes",
    "Bytes that wait for their commit.",
    lanes(({ bytes }) => bytes),
  ),
  gaugeBy(
    "lane",
    "lane_pressure",
    "How full a lane is, 0 to 1.",
    lanes(({ pressure }) => pressure),
  ),
  gaugeBy("state", "pool_connections", "Connections for reading.", ({ deps: { pools } }) => ({
    busy: sum(pools, (pool) => pool.totalCount - pool.idleCount),
    idle: sum(pools, (pool) => pool.idleCount),
  })),
  gauge("pool_capacity", "Most connections for reading (POOL_SIZE).", ({ deps }) => deps.poolSize),
  gauge("pool_waiting", "Queries that wait for a connection.", ({ deps }) =>
    sum(deps.pools, (pool) => pool.waitingCount),
  ),
  gaugeBy("status", "status", "1 for how the instance is.", ({ stats }) => ({
    ...Object.fromEntries(statuses.map((status) => [status, 0])),
    [stats.status]: 1,
  })),
  gauge("uptime_seconds", "Since it took up its work.", ({ stats }) => stats.uptimeMs / 1000),
];

const statuses = ["healthy", "degraded: database", "degraded: bus", "draining"];

function readersByKind({ deps }: Snapshot): Values {
  const counted: Record<ScopeKey["kind"] | "space", number> = {
    tree: 0,
    subtree: 0,
    workflow: 0,
    task: 0,
    space: 0,
  };
  for (const live of deps.hub.live()) {
    const isSpace = live.traffic.owner.space !== undefined;
    for (const [kind, readers] of live.readers()) counted[isSpace ? "space" : kind] += readers;
  }
  return { ...counted, ...deps.watchers() };
}

/** Of those with a connection: what is closed or detached is no instance's. */
const attachedStates = Object.entries(SessionState).filter(
  ([name]) => name !== "CLOSED" && name !== "DETACHED",
);

function sessionsByState({ deps }: Snapshot): Values {
  const counted = new Map<SessionState, number>();
  for (const state of deps.sessions.states()) counted.set(state, (counted.get(state) ?? 0) + 1);
  return Object.fromEntries(
    attachedStates.map(([name, state]) => [name.toLowerCase(), counted.get(state) ?? 0]),
  );
}
