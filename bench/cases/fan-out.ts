/** One tree, many readers: what a delivery costs, and how late it is. Over gRPC, and over HTTP/1.1 beside what one would use there. */
import { missingTarget, openTarget, type TargetName } from "../targets.ts";
import { bySize, type Case, type Contender, type Contest } from "./case.ts";
import { runFollowLoad, toFollowFigures } from "./follow-load.ts";

const grpc = ["tributary", "stock connect-node", "raw http2"] as const;
const http1 = ["tributary, SSE", "raw HTTP/1.1", "better-sse", "socket.io"] as const;

type Point = readonly [readers: number, perSecond: number];

/** 50,000 deliveries a second: the most that all but one contender keep up with. */
const highest: readonly Point[] = [
  [1000, 50],
  [5000, 10],
];

const columns = [
  "deliveriesPerSecond",
  "p50Ms",
  "p99Ms",
  "missing",
  "serverCpuUs",
  "serverCpuPercent",
  "eventsPerMessage",
  "loadCpuPercent",
  "rssMb",
] as const;

export const fanOut: Case = {
  name: "fan-out",
  about:
    "readers of one tree, events of 100 bytes, open loop; each reader gets each event, once and in order; gRPC over HTTP/2",
  columns,
  ratios: grpc.slice(1).map((to) => ({ of: "tributary", to, figures: ["serverCpuUs", "p99Ms"] })),
  contests(size) {
    const points = bySize<readonly Point[]>(size, {
      full: [[1, 10], [1, 50], [100, 10], [100, 50], [1000, 10], ...highest],
      quick: [[100, 50], ...highest],
      smoke: [[20, 20]],
    });
    // The baselines where it is hardest: at lower rates they differ as they do there.
    return points.map(([readers, perSecond]) =>
      contest(perSecond === 10 && readers < 5000 ? grpc.slice(0, 1) : grpc, readers, perSecond),
    );
  },
};

export const fanOutHttp1: Case = {
  name: "fan-out http1",
  about:
    "the same over HTTP/1.1, a connection for each reader: Server-Sent Events, and socket.io over WebSocket; the same JSON from all",
  columns: columns.filter((name) => name !== "eventsPerMessage"),
  ratios: http1.slice(1).map((to) => ({ of: "tributary, SSE", to, figures: ["serverCpuUs", "p99Ms"] })),
  contests(size) {
    const points = bySize<readonly Point[]>(size, { full: highest, quick: highest, smoke: [[20, 20]] });
    return points.map(([readers, perSecond]) => contest(http1, readers, perSecond));
  },
};

const contest = (names: readonly TargetName[], readers: number, perSecond: number): Contest => ({
  point: `${readers} reader${readers === 1 ? "" : "s"}, ${perSecond} events/s`,
  contenders: names.map((name) => contender(name, readers, perSecond)),
});

function contender(name: TargetName, readers: number, perSecond: number): Contender {
  return {
    name,
    missing: missingTarget(name),
    async run(bench) {
      const target = await openTarget(bench, name);
      const load = { workflows: 1, readers, perSecond, eventsPerMessage: 1, payloadBytes: 100 };
      return toFollowFigures(await runFollowLoad(bench, target, { ...load, via: "call each" }));
    },
  };
}
