/**
 * Numbered writing over sessions that stay open, every entry durable: how soon batches are acknowledged at a steady rate,
 * and how much goes through when each session always sends what its credit allows. Stock connect-node acknowledges each
 * batch of the same messages at once and stores nothing.
 */
import type { SessionKindName } from "../load/session-kind.ts";
import { openTarget, type TargetName } from "../targets.ts";
import { bySize, type Case, type Contender, type Contest } from "./case.ts";
import { bareContender, count, toPublishedFigures } from "./published.ts";

const payloadBytes = 100;
const kinds = ["task events", "observations"] as const;
/** Entries that a session may have unacknowledged: the server's default. */
const credit = 1000;

type Target = Extract<TargetName, "tributary" | "stock connect-node">;

interface Load {
  readonly kind: SessionKindName;
  readonly sessions: number;
  readonly eventsPerBatch: number;
  /** Events of all sessions; absent: as many as the credit allows. */
  readonly perSecond?: number;
}

export const sessions: Case = {
  name: "sessions",
  about:
    "PublishTaskStream and ObserveStream, a workflow or memory space each; entries of 100 bytes; acknowledged as durable (stock connect-node: at once, stored nowhere)",
  columns: [
    "eventsPerSecond",
    "ackP50Ms",
    "ackP99Ms",
    "lateP99Ms",
    "eventsPerCommit",
    "serverCpuUs",
    "serverCpuPercent",
    "databaseCpuPercent",
    "loadCpuPercent",
  ],
  contests(size) {
    const rates = bySize(size, { full: [10_000], quick: [10_000], smoke: [500] });
    const most = bySize(size, { full: [1, 4, 16], quick: [4], smoke: [2] });
    return kinds.flatMap((kind) => [
      ...rates.map((perSecond) => openContest({ kind, sessions: 4, eventsPerBatch: 10, perSecond })),
      ...most.map((sessions) => closedContest({ kind, sessions, eventsPerBatch: 100 })),
    ]);
  },
};

const openContest = (load: Load & { readonly perSecond: number }): Contest => ({
  point: `${load.kind}: ${load.perSecond.toLocaleString("en-US")}/s in batches of ${load.eventsPerBatch}, ${count(load.sessions, "session")}, open loop`,
  contenders: [contender("tributary", load), contender("stock connect-node", load)],
});

const closedContest = (load: Load): Contest => ({
  point: `${load.kind}: batches of ${load.eventsPerBatch} within the credit, ${count(load.sessions, "session")}`,
  contenders: [
    contender("tributary", load),
    contender("stock connect-node", load),
    // Of events alone: what the words of an observation cost on top is seen beside it.
    bareContender("bare append", load.sessions, credit * load.sessions, payloadBytes),
  ],
});

function contender(name: Target, { kind, sessions, eventsPerBatch, perSecond }: Load): Contender {
  return {
    name,
    async run(bench) {
      const target = await openTarget(bench, name);
      const publisher = await bench.spawn("session publisher", target.address);
      const targets = await (kind === "observations" ? target.spaces : target.workflows)(sessions);
      await publisher.call("begin", { kind, targets, sessions, eventsPerBatch, payloadBytes });
      // Not by the timetable: see follow-load.ts.
      await publisher.call("closedLoop", bench.warmUpSeconds);
      const { result, used } = await bench.measure(target.server, [publisher], () =>
        perSecond === undefined
          ? publisher.call("closedLoop", bench.seconds)
          : publisher.call("openLoop", bench.seconds, perSecond),
      );
      return toPublishedFigures(result, used);
    },
  };
}
