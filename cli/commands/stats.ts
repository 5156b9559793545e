/** `tributary stats`: how the server is, what it did since it started, and its busiest streams. */
import type { Command } from "commander";
import {
  type GetStatsResponse,
  GetStatsResponseSchema,
  type LaneStats,
  type StreamStats,
} from "../../gen/tributary/v1/admin_service_pb.ts";
import { PrioritySchema } from "../../gen/tributary/v1/session_pb.ts";
import type { Cli } from "../cli.ts";
import { withExamples } from "../help.ts";
import { toWholeNumber } from "../options.ts";
import type { Paint } from "../output/paint.ts";
import { nameOf, toPlain } from "../output/plain.ts";
import { toTable } from "../output/table.ts";
import { toMoment, toSpan } from "../output/time.ts";
import { cleanLine } from "../output/width.ts";

interface Options {
  readonly tenant?: string;
  readonly streams: number;
}

export function addStats(program: Command, cli: Cli): void {
  const command = program
    .command("stats")
    .description("show how the server is: its streams with readers, what was written and sent, its lanes")
    .option("--tenant <slug>", "only this tenant's (with the admin key)")
    .option("--streams <n>", "at most so many streams, busiest first", toWholeNumber(1, 1000), 20)
    .action(async ({ tenant = "", streams }: Options) => {
      const { admin } = await cli.client();
      const stats = await admin.getStats({ tenantSlug: tenant, maxStreams: streams });
      cli.output.result(toPlain(GetStatsResponseSchema, stats), () => toText(stats, cli.output.paint));
    });
  withExamples(
    command,
    ["tributary stats", "everything, with the admin key; with a tenant's key its own numbers"],
    [
      "tributary stats --json --streams 1000 | jq '.streams[] | select(.slowestReaderLag > 1000)'",
      "streams with a reader that is far behind",
    ],
  );
}

/** What is cut off is said. */
function toText(stats: GetStatsResponse, paint: Paint): string {
  const { totalStreams, streams } = stats;
  const status = stats.status === "healthy" ? paint.green(stats.status) : paint.red(cleanLine(stats.status));
  const behind = totalStreams - stats.healthyStreams;
  const blocks = [
    [
      `${status}  up ${toUptime(Number(stats.uptimeMs))}  ${paint.dim(`instance ${stats.instanceId}`)}`,
      `now      ${count(totalStreams, "stream")} with readers${behind > 0 ? `, ${paint.red(`${behind} not healthy`)}` : ""}, ${count(stats.subscribers, "reader")}, ${count(stats.sessions, "session")}`,
      `in all   ${count(stats.eventsPublished, "event")} written, ${count(stats.eventsDelivered, "event")} sent to readers`,
    ].join("\n"),
    toTable(stats.lanes, laneColumns, paint),
  ];
  if (streams.length > 0) blocks.push(toTable(streams, streamColumns(paint), paint));
  if (streams.length < totalStreams)
    blocks.push(paint.dim(`${totalStreams - streams.length} more; see them with --streams.`));
  return blocks.join("\n\n");
}

const laneColumns = [
  { title: "LANE", cell: ({ priority }: LaneStats) => nameOf(PrioritySchema, priority).toLowerCase() },
  { title: "WAITING", right: true, cell: ({ depth }: LaneStats) => grouped(depth) },
  { title: "OF", right: true, cell: ({ capacity }: LaneStats) => grouped(capacity) },
  { title: "BYTES", right: true, cell: ({ bytes }: LaneStats) => grouped(bytes) },
  { title: "PRESSURE", right: true, cell: ({ pressure }: LaneStats) => `${Math.round(pressure * 100)} %` },
] as const;

const streamColumns = (paint: Paint) =>
  [
    {
      title: "ROOT OR SPACE",
      cell: ({ rootWorkflowId, space }: StreamStats) => rootWorkflowId || cleanLine(space),
    },
    { title: "READERS", right: true, cell: ({ readers }: StreamStats) => grouped(readers) },
    { title: "TAIL", right: true, cell: ({ tailOffset }: StreamStats) => grouped(tailOffset) },
    { title: "LAG", right: true, cell: ({ slowestReaderLag }: StreamStats) => grouped(slowestReaderLag) },
    { title: "SENT", right: true, cell: ({ delivered }: StreamStats) => grouped(delivered) },
    { title: "CONFLATED", right: true, cell: ({ conflated }: StreamStats) => grouped(conflated) },
    { title: "READS", right: true, cell: ({ storeReads }: StreamStats) => grouped(storeReads) },
    { title: "WINDOW", right: true, cell: ({ windowEntries }: StreamStats) => grouped(windowEntries) },
    {
      title: "LAST EVENT",
      cell: ({ lastActivityMs }: StreamStats) => paint.dim(toMoment(lastActivityMs)),
    },
  ] as const;

const grouped = (value: number | bigint): string => value.toLocaleString("en-US");

const count = (value: number | bigint, noun: string): string =>
  `${grouped(value)} ${noun}${Number(value) === 1 ? "" : "s"}`;

/** "12 s", "4 min", "3 h", "12 d". */
function toUptime(ms: number): string {
  const hours = ms / 3_600_000;
  if (hours < 2) return toSpan(ms);
  return hours < 48 ? `${Math.round(hours)} h` : `${Math.round(hours / 24)} d`;
}
