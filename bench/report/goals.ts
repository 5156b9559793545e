/**
 * What the project asks of itself, each goal with how it is found from a run. Which runs a goal needs is seen by asking it, so that
 * `--goals` measures these alone.
 */
import type { FigureName } from "./figures.ts";

/** The median of a figure of one row; undefined if it was not measured. `point` is how the point begins. */
export type Look = (
  caseName: string,
  point: string,
  contender: string | RegExp,
  figure: FigureName,
) => number | undefined;

export interface Goal {
  readonly text: string;
  readonly wanted: { readonly atMost: number } | { readonly atLeast: number } | { readonly below: number };
  readonly unit: string;
  readonly digits: number;
  /** Asks for all that it needs, whatever is missing. */
  found(look: Look): number | undefined;
}

const over = (a: number | undefined, b: number | undefined) =>
  a === undefined || b === undefined || b === 0 ? undefined : a / b;

const points = ["1000 readers, 50 events/s", "5000 readers, 10 events/s"] as const;

const fanOut = (point: string) => (look: Look) => {
  const own = look("fan-out", point, "tributary", "serverCpuUs");
  return { own, raw: look("fan-out", point, "raw http2", "serverCpuUs") };
};

/** CPU of the server and of Postgres by event, with much against with little. */
const grown =
  (caseName: string, point: string, much: string | RegExp, little: string) =>
  (look: Look): number | undefined => {
    const cost = (contender: string | RegExp) => {
      const server = look(caseName, point, contender, "serverCpuPercent");
      const database = look(caseName, point, contender, "databaseCpuPercent");
      const perSecond = look(caseName, point, contender, "eventsPerSecond");
      return server === undefined || database === undefined ? undefined : over(server + database, perSecond);
    };
    const [a, b] = [cost(much), cost(little)];
    return over(a, b);
  };

const times = { unit: "×", digits: 2 } as const;
const ms = { unit: "ms", digits: 1 } as const;
const ingest = "100 events a message, 50 streams";
const eventsPerSecond = (look: Look, contender: string | RegExp) =>
  look("publish", ingest, contender, "eventsPerSecond");

export const goals: readonly Goal[] = [
  ...points.flatMap((point): Goal[] => [
    {
      text: `fan-out, ${point}: CPU a delivery, against raw http2`,
      wanted: { atMost: 2 },
      ...times,
      found(look) {
        const { own, raw } = fanOut(point)(look);
        return over(own, raw);
      },
    },
    ...(["socket.io", "better-sse"] as const).map(
      (other): Goal => ({
        text: `fan-out, ${point}: CPU a delivery, against ${other}`,
        wanted: { below: 1 },
        ...times,
        found(look) {
          const theirs = look("fan-out http1", point, other, "serverCpuUs");
          return over(look("fan-out", point, "tributary", "serverCpuUs"), theirs);
        },
      }),
    ),
    {
      text: `Server-Sent Events, ${point}: CPU a delivery, against raw HTTP/1.1`,
      wanted: { atMost: 1.2 },
      ...times,
      found(look) {
        const raw = look("fan-out http1", point, "raw HTTP/1.1", "serverCpuUs");
        return over(look("fan-out http1", point, "tributary, SSE", "serverCpuUs"), raw);
      },
    },
  ]),
  {
    text: `fan-out, ${points[0]}: p99`,
    wanted: { atMost: 15 },
    ...ms,
    found: (look) => look("fan-out", points[0], "tributary", "p99Ms"),
  },
  {
    text: `fan-out, ${points[0]}: the server's core`,
    wanted: { below: 90 },
    unit: "%",
    digits: 0,
    found: (look) => look("fan-out", points[0], "tributary", "serverCpuPercent"),
  },
  {
    text: "durable ingest, 100 events a message: against bare append",
    wanted: { atLeast: 0.7 },
    ...times,
    found(look) {
      const bare = eventsPerSecond(look, /^bare append/);
      return over(eventsPerSecond(look, "tributary"), bare);
    },
  },
  {
    text: "durable ingest, 100 events a message: against Redis, appendfsync always",
    wanted: { atLeast: 1 },
    ...times,
    found(look) {
      const redis = eventsPerSecond(look, /^Redis/);
      return over(eventsPerSecond(look, "tributary"), redis);
    },
  },
  {
    text: "durable ingest, 100 events a message",
    wanted: { atLeast: 100_000 },
    unit: "events/s",
    digits: 0,
    found: (look) => eventsPerSecond(look, "tributary"),
  },
  ...(
    [
      ["p50", "p50Ms", 3],
      ["p99", "p99Ms", 10],
    ] as const
  ).map(
    ([name, figure, atMost]): Goal => ({
      text: `publish → reader at 1,000 events/s, durable: ${name}`,
      wanted: { atMost },
      ...ms,
      found: (look) => look("latency", "1000 events/s", "tributary, one PublishTaskEvents call", figure),
    }),
  ),
  {
    text: "an idle reader over HTTP/2: memory",
    wanted: { atMost: 20 },
    unit: "KB",
    digits: 1,
    // At 1,000 what the allocator rounds up is half of it from run to run.
    found: (look) =>
      look("idle readers", "5000 readers, one tree", "tributary", "rssKbPerReader") ??
      look("idle readers", "1000 readers, one tree", "tributary", "rssKbPerReader"),
  },
  {
    text: "replay of 100,000 events to one reader",
    wanted: { atMost: 250 },
    unit: "ms",
    digits: 0,
    found: (look) => look("replay", "1 reader", "tributary, counting", "readMs"),
  },
  // RSS also holds what the allocator keeps, which differs by 20 MB from run to run without any stalled reader.
  ...(
    [
      ["heap and buffers", "heapGrowthMb"],
      ["RSS", "rssGrowthMb"],
    ] as const
  ).map(
    ([name, figure]): Goal => ({
      text: `a stalled reader: ${name}`,
      wanted: { below: 20 },
      unit: "MB",
      digits: 1,
      found(look) {
        const alone = look("slow reader", "", "tributary, alone", figure);
        const beside = look("slow reader", "", "tributary, beside a stalled one", figure);
        return alone === undefined || beside === undefined ? undefined : Math.max(0, beside - alone);
      },
    }),
  ),
  {
    text: "50 readers join 100,000 events: p99 of live readers meanwhile",
    wanted: { atMost: 50 },
    ...ms,
    found: (look) => look("crowd", "50 join 100,000 events", "tributary", "p99Ms"),
  },
  {
    text: "CPU an event at 10,000 streams, against 10",
    wanted: { atMost: 1.5 },
    ...times,
    found: grown("streams", "", "10,000 streams", "10 streams"),
  },
  {
    text: "CPU a delivery at 5,000 readers, against 1,000",
    wanted: { atMost: 1.5 },
    ...times,
    found(look) {
      const few = look("fan-out", points[0], "tributary", "serverCpuUs");
      return over(look("fan-out", points[1], "tributary", "serverCpuUs"), few);
    },
  },
  {
    text: "CPU an event with many stored events (--stored), against 1,000",
    wanted: { atMost: 1.5 },
    ...times,
    found: grown("growth", "stored", /^(?!1,000 ).*stored events$/, "1,000 stored events"),
  },
  {
    text: "CPU an event ten levels deep, against one",
    wanted: { atMost: 1.5 },
    ...times,
    found: grown("growth", "depth", "10 levels", "1 level"),
  },
  {
    text: "CPU an event with 1,000 children, against one",
    wanted: { atMost: 1.5 },
    ...times,
    found: grown("growth", "width", "1,000 children", "1 child"),
  },
];

/** Whether a run is one that a goal asks for. */
export function isForGoals(caseName: string, point: string, contender: string): boolean {
  return asked().some(
    (each) =>
      each.caseName === caseName && point.startsWith(each.point) && isNamed(contender, each.contender),
  );
}

export const isNamed = (name: string, wanted: string | RegExp): boolean =>
  typeof wanted === "string" ? name === wanted : wanted.test(name);

type Asked = { readonly caseName: string; readonly point: string; readonly contender: string | RegExp };

function asked(): Asked[] {
  const all: Asked[] = [];
  for (const goal of goals) {
    goal.found((caseName, point, contender) => {
      all.push({ caseName, point, contender });
      return undefined;
    });
  }
  return all;
}
