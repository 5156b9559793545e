/**
 * What one more of something costs the others: the same rate of events to one reader of the tree, with more of it and with less.
 * Streams are grown in `streams`, readers in `fan-out`. A stored stream is made in one statement and copied for each run; ten
 * million events (`--stored 10000000`) take minutes and 10 GB for a while.
 */
import { openTarget, type Target } from "../targets.ts";
import { bySize, type Case, type Contender } from "./case.ts";
import { type Followed, runFollowLoad, toFollowFigures } from "./follow-load.ts";
import { count } from "./published.ts";

const payloadBytes = 100;
const few = 1000;

export const growth: Case = {
  name: "growth",
  about:
    "one reader of a tree, events of 100 bytes by one PublishTaskEvents call, open loop; in a deep tree to the lowest workflow, in a wide one to all children in turn. CPU by published event, which the reader gets",
  columns: [
    "eventsPerSecond",
    "p50Ms",
    "p99Ms",
    "missing",
    "serverCpuUsPerEvent",
    "databaseCpuUsPerEvent",
    "serverCpuPercent",
    "loadCpuPercent",
    "rssMb",
  ],
  contests(size, { stored } = {}) {
    const perSecond = bySize(size, { full: 1000, quick: 1000, smoke: 200 });
    const depth = bySize(size, { full: 10, quick: 10, smoke: 3 });
    const width = bySize(size, { full: 1000, quick: 1000, smoke: 20 });
    const most = stored ?? bySize(size, { full: 1_000_000, quick: 200_000, smoke: 2000 });
    const at = `${perSecond.toLocaleString("en-US")} events/s`;
    return [
      {
        point: `depth, ${at}`,
        contenders: [1, depth].map((levels) =>
          grown(count(levels, "level"), perSecond, (target) => deep(target, levels)),
        ),
      },
      {
        point: `width, ${at}`,
        contenders: [1, width].map((children) =>
          grown(
            children === 1 ? "1 child" : `${children.toLocaleString("en-US")} children`,
            perSecond,
            (target) => wide(target, children),
          ),
        ),
      },
      {
        point: `stored, ${at}`,
        contenders: [Math.min(few, most), most].map((events) =>
          grown(count(events, "stored event"), perSecond, undefined, events),
        ),
      },
    ];
  },
};

function grown(
  name: string,
  perSecond: number,
  tree: ((target: Target) => Promise<Followed>) | undefined,
  storedEvents?: number,
): Contender {
  return {
    name,
    async run(bench) {
      const stored = storedEvents === undefined ? undefined : await bench.stored(storedEvents, payloadBytes);
      const databaseUrl = stored === undefined ? undefined : await bench.database(stored.template);
      const target = await openTarget(bench, "tributary", { databaseUrl });
      const own = { written: [stored?.workflowId ?? ""], read: [stored?.workflowId ?? ""] };
      const workflows = (await tree?.(target)) ?? own;
      const load = { workflows, readers: 1, perSecond, eventsPerMessage: 1, payloadBytes };
      const followed = await runFollowLoad(bench, target, { ...load, by: "tree", via: "one call" });
      const figures = toFollowFigures(followed);
      const { used, published } = followed;
      const databaseCpuUs = ((figures.databaseCpuPercent ?? 0) / 100) * used.seconds * 1e6;
      return { ...figures, databaseCpuUsPerEvent: databaseCpuUs / published.events };
    },
  };
}

/** The lowest of so many workflows below a root. */
async function deep(target: Target, levels: number): Promise<Followed> {
  const [root = ""] = await target.workflows(1);
  let lowest = root;
  for (let i = 0; i < levels; i += 1) [lowest = ""] = await target.children(lowest, 1);
  return { written: [lowest], read: [root], below: true };
}

async function wide(target: Target, children: number): Promise<Followed> {
  const [root = ""] = await target.workflows(1);
  return { written: await target.children(root, children), read: [root], below: true };
}
