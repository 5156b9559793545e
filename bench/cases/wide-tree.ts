/**
 * One tree with many children and a reader on each: an event must cost what its own readers cost, not those of its siblings;
 * and when all leave at once, nothing of them may be left soon after.
 */
import type { Bench } from "../bench.ts";
import type { Figures } from "../report/figures.ts";
import { openTarget } from "../targets.ts";
import { bySize, type Case, type Contender } from "./case.ts";
import { runFollowLoad, toFollowFigures } from "./follow-load.ts";
import { count } from "./published.ts";

/** All readers must be gone after so long, or the run has failed, ms. */
const leaveLimitMs = 10_000;

type To = "one child" | "all children in turn";
type Leaving = "connections" | "calls";

interface Load {
  readonly children: number;
  readonly readers: number;
  readonly perSecond: number;
  readonly to: To;
  /** How the readers leave at the end. */
  readonly leaving: Leaving;
  /** What is published while they do, messages a second; absent: nothing. */
  readonly meanwhile?: number;
}

export const wideTree: Case = {
  name: "wide tree",
  about:
    "a tree with many children and a StreamWorkflow on each, against one StreamWorkflow on one child; events of 100 bytes by one PublishTaskEvents call, open loop. Server CPU by published event, of which each reaches one reader (one reader, all children: every child's reader but the first is missing). “gone”: from the moment when all readers begin to leave until the server's gauges show no call and no stream",
  columns: [
    "eventsPerSecond",
    "deliveriesPerSecond",
    "p50Ms",
    "p99Ms",
    "missing",
    "serverCpuUsPerEvent",
    "serverCpuPercent",
    "loadCpuPercent",
    "goneMs",
  ],
  contests(size) {
    const children = bySize(size, { full: 1000, quick: 1000, smoke: 20 });
    const perSecond = bySize(size, { full: 1000, quick: 1000, smoke: 200 });
    const both = ["one child", "all children in turn"] as const;
    const targets = bySize<readonly To[]>(size, { full: both, quick: both, smoke: ["all children in turn"] });
    const rate = `${perSecond.toLocaleString("en-US")} events/s`;
    const load = { children, perSecond, leaving: "connections" } as const;
    const meanwhile = perSecond / 10;
    return [
      ...targets.map((to) => ({
        point: `${children.toLocaleString("en-US")} children, ${rate} to ${to}`,
        contenders: [1, children].map((readers) =>
          contender(count(readers, "reader"), { ...load, to, readers }),
        ),
      })),
      {
        point: `${count(children, "reader")} leave while ${meanwhile} events/s go to all children in turn`,
        contenders: (["connections", "calls"] as const).map((leaving) =>
          contender(leaving === "connections" ? "connections broken" : "calls cancelled", {
            ...load,
            readers: children,
            to: "all children in turn",
            leaving,
            meanwhile,
          }),
        ),
      },
    ];
  },
};

const contender = (name: string, load: Load): Contender => ({ name, run: (bench) => run(bench, load) });

async function run(
  bench: Bench,
  { children, readers, perSecond, to, leaving, meanwhile }: Load,
): Promise<Figures> {
  const target = await openTarget(bench, "tributary");
  const [root = ""] = await target.workflows(1);
  const all = await target.children(root, children);
  const written = to === "one child" ? all.slice(0, 1) : all;
  const message = { eventsPerMessage: 1, payloadBytes: 100 };
  const load = {
    ...message,
    workflows: { written, read: all },
    readers,
    by: "workflow",
    perSecond,
    via: "one call",
  } as const;
  let goneMs = 0;
  const followed = await runFollowLoad(bench, target, load, async ({ reader, publisher }) => {
    // Each in a call that is over at once: an open one would be counted as well.
    const others =
      meanwhile === undefined
        ? undefined
        : publisher.call("openLoop", {
            ...message,
            workflows: written,
            perSecond: meanwhile,
            via: "task data",
            seconds: 2 * bench.seconds,
          });
    if (others !== undefined) await new Promise((resolve) => setTimeout(resolve, 1000 * bench.seconds));
    const gone = target.untilQuiet?.(leaveLimitMs) ?? Promise.resolve(0);
    const began = await reader.call("leave", leaving);
    goneMs = ((await gone) - began) / 1000;
    await others;
  });
  return { ...toFollowFigures(followed), goneMs };
}
