/** That the tool works, not how fast anything is: no figure is compared with a time. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { batchOf, opened, readyBatches } from "../../bench/baselines/ready-events.ts";
import type { Case } from "../../bench/cases/case.ts";
import { cases } from "../../bench/cases/cases.ts";
import { DeliveryCount } from "../../bench/load/delivery-count.ts";
import { EntryCheck, numbered } from "../../bench/load/numbered-entries.ts";
import { Pauses } from "../../bench/load/pauses.ts";
import { SessionBatch } from "../../bench/load/session-batch.ts";
import { sessionKinds } from "../../bench/load/session-kind.ts";
import { VersionCount } from "../../bench/load/version-count.ts";
import { leftOut, planRuns } from "../../bench/plan.ts";
import type { FigureName, Figures } from "../../bench/report/figures.ts";
import { judge } from "../../bench/report/goal-table.ts";
import { goals, isForGoals } from "../../bench/report/goals.ts";
import { writePlots } from "../../bench/report/plots.ts";
import type { Result } from "../../bench/report/result.ts";
import { summarize } from "../../bench/report/summary.ts";
import { countEvents } from "../../bench/wire/count-events.ts";
import { FrameCutter, headBytes, toFrame } from "../../bench/wire/grpc-frames.ts";
import { readJsonOffset, readOffset } from "../../bench/wire/offset.ts";
import { readStamp, stampedText, stampPositions, writeStamp } from "../../bench/wire/stamp.ts";
import { SseCutter, type TextCutter, WebSocketCutter } from "../../bench/wire/text-cutters.ts";
import { readUpdates, variableName } from "../../bench/wire/variable-updates.ts";
import { StreamWorkflowConsolidatedResponseSchema } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { PublishTaskStreamRequestSchema } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { WatchVariablesResponseSchema } from "../../gen/tributary/v1/variable_service_pb.ts";
import { natsServer } from "../support/nats.ts";
import { someOf } from "../support/random.ts";

const main = fileURLToPath(new URL("../../bench/main.ts", import.meta.url));
/** Enough for a busy machine. */
const limitMs = 480_000;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tributary-bench-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const run = (...args: string[]): Promise<Ran> =>
  new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], { timeout: limitMs }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }),
    );
  });

/** What every contender of a case has to tell, each above 0. */
const told: Readonly<Record<string, readonly FigureName[]>> = {
  publish: ["eventsPerSecond", "ackP50Ms", "ackP99Ms", "loadCpuPercent"],
  sessions: ["eventsPerSecond", "ackP50Ms", "ackP99Ms", "loadCpuPercent"],
  latency: ["eventsPerSecond", "p50Ms", "p90Ms", "p99Ms", "maxMs", "serverCpuPercent"],
  "fan-out": ["deliveriesPerSecond", "p50Ms", "p99Ms", "serverCpuUs", "eventsPerMessage"],
  "fan-out http1": ["deliveriesPerSecond", "p50Ms", "p99Ms", "serverCpuUs"],
  replay: ["eventsPerSecond", "eventsPerMessage", "loadCpuPercent"],
  crowd: ["beforeP99Ms", "p50Ms", "p99Ms", "readMs", "eventsPerSecond", "serverCpuUs"],
  "idle readers": ["rssMb", "openMsPerReader"],
  "idle sessions": ["rssMb", "openMsPerSession"],
  observability: ["serverCpuUs"],
  "slow reader": ["p50Ms", "p99Ms", "rssMb"],
  variables: ["updatesPerSecond", "ackP50Ms", "ackP99Ms", "loadCpuPercent"],
  watchers: ["p50Ms", "p99Ms", "deliveriesPerSecond", "eventsPerMessage", "serverCpuUsPerDelivery"],
  multiplex: ["deliveriesPerSecond", "p50Ms", "p99Ms", "serverCpuUs", "eventsPerMessage"],
  instances: ["eventsPerSecond", "serverCpuPercent", "databaseCpuPercent", "rssMb"],
  streams: ["eventsPerSecond", "p50Ms", "p99Ms", "serverCpuUsPerEvent"],
  growth: ["eventsPerSecond", "p50Ms", "p99Ms", "serverCpuUsPerEvent", "rssMb"],
  "rolling restart": ["deliveriesPerSecond", "pauseP50Ms", "pauseMaxMs", "ackWaitMaxMs", "drainMs"],
  "wide tree": ["eventsPerSecond", "deliveriesPerSecond", "p50Ms", "serverCpuUsPerEvent", "goneMs"],
};

const overNats: ReadonlySet<string> = new Set(["instances", "rolling restart"]);
const runnable = cases.filter(({ name }) => !overNats.has(name) || natsServer.missing === undefined);
if (runnable.length < cases.length) test.skip(`the cases of several instances (${natsServer.missing})`);
const some = someOf(runnable, 1);

test(
  `the smallest selection yields the figures of every contender: ${some.map(({ name }) => name)}`,
  async () => {
    const out = join(folder, "results.ndjson");
    const names = some.map(({ name }) => name.replaceAll(" ", "-")).join(",");
    const { code, stdout, stderr } = await run("--smoke", "--markdown", "--out", out, "--cases", names);
    expect(code, stderr).toBe(0);
    const results = (await readFile(out, "utf8"))
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Result);

    const planned = planRuns(some, "smoke", 1).map((each) => [
      each.case.name,
      each.point,
      each.contender.name,
    ]);
    expect(results.map((result) => [result.case, result.point, result.contender])).toEqual(planned);
    expect(new Set(results.map((result) => result.case))).toEqual(new Set(some.map(({ name }) => name)));
    expect(Object.keys(told).sort()).toEqual(cases.map(({ name }) => name).sort());
    for (const { case: name, contender, figures, environment, date } of results) {
      for (const figure of told[name] ?? []) {
        expect(figures[figure], `${name}, ${contender}: ${figure}`).toBeGreaterThan(0);
      }
      for (const figure of ["missing", "lost", "doubled"] as const) {
        expect(figures[figure] ?? 0, `${name}, ${contender}: ${figure}`).toBe(0);
      }
      expect(figures.p99Ms ?? 0).toBeGreaterThanOrEqual(figures.p50Ms ?? 0);
      expect(environment).toMatchObject({ node: process.version, connect: expect.any(String) });
      expect(Date.parse(date)).toBeGreaterThan(0);
      expect(stdout).toContain(`| ${contender} |`);
    }
    for (const { name } of some) expect(stdout).toContain(`### ${name}`);
    expect(stderr.match(/^\[\d+\/\d+\] round 1/gm)).toHaveLength(planned.length);
  },
  limitMs,
);

test("an unknown case is refused with the names that there are", async () => {
  const { code, stderr } = await run("--cases", "publish,nonsense");
  expect(code).not.toBe(0);
  expect(stderr).toMatch(/No such case: nonsense.*publish.*fan-out/);
});

test("contenders take turns in being first", () => {
  const first = (round: number) =>
    planRuns(cases, "full", 2).find((each) => each.round === round && each.case.name === "latency")?.contender
      .name;
  expect(first(1)).toBeDefined();
  expect(first(2)).not.toBe(first(1));
});

test("a contender that lacks something is left out by name, with the reason, and not run", () => {
  const here = { name: "here", run: async () => ({}) };
  const lacking = { name: "lacking", missing: "the package is not installed: npm ci", run: here.run };
  const one = { ...(cases[0] as Case), contests: () => [{ point: "a", contenders: [here, lacking] }] };
  expect(planRuns([one], "full", 2).map(({ contender }) => contender.name)).toEqual(["here", "here"]);
  expect(leftOut(one, "full")).toEqual(["left out: lacking: the package is not installed: npm ci"]);
});

const resultOf = (name: string, point: string, contender: string, figures: Figures): Result => ({
  case: name,
  point,
  contender,
  round: 1,
  seconds: 1,
  figures,
  date: "",
  environment: {} as Result["environment"],
});

test("each goal asks for runs that there are, and is judged by what they found", () => {
  // Contenders that lack something here too: they are goals' runs all the same.
  const planned = cases.flatMap((one) =>
    one
      .contests("full")
      .flatMap(({ point, contenders }) =>
        contenders.map((contender) => ({ case: one.name, point, contender: contender.name })),
      ),
  );
  const needed = planned.filter((run) => isForGoals(run.case, run.point, run.contender));
  expect(needed.length).toBeLessThan(planned.length / 2);
  // Every figure is 4, of which the half is wanted at most, or all of it: both verdicts come.
  const figures = (value: number): Figures =>
    Object.fromEntries([...new Set(Object.values(told).flat()), ...more].map((name) => [name, value]));
  const results = needed.map((run) => resultOf(run.case, run.point, run.contender, figures(4)));
  const judged = judge(results);
  expect(judged.filter(({ verdict }) => verdict === "not measured")).toEqual([]);
  expect(judged).toHaveLength(goals.length);
  const verdictOf = (start: string) => judged.find(({ text }) => text.startsWith(start))?.verdict;
  expect(verdictOf("publish → reader at 1,000 events/s, durable: p50")).toBe("not reached");
  expect(verdictOf("publish → reader at 1,000 events/s, durable: p99")).toBe("reached");
  expect(verdictOf("fan-out, 1000 readers, 50 events/s: CPU a delivery, against socket.io")).toBe(
    "not reached",
  );
  const short = results.map((result) => ({ ...result, figures: { ...result.figures, missing: 1 } }));
  expect(new Set(judge(short).map(({ verdict }) => verdict))).toEqual(new Set(["events were missing"]));
  expect(new Set(judge([]).map(({ verdict }) => verdict))).toEqual(new Set(["not measured"]));
});

/** Figures that goals look at and the list above does not name. */
const more = [
  "serverCpuPercent",
  "databaseCpuPercent",
  "rssKbPerReader",
  "rssGrowthMb",
  "heapGrowthMb",
] as const;

test("pictures are made from results, with what was measured written in them", async () => {
  const point = "1000 readers, 50 events/s";
  const results = [
    resultOf("fan-out", point, "tributary", { serverCpuUs: 8.25, p50Ms: 7, p99Ms: 21 }),
    resultOf("fan-out", point, "raw http2", { serverCpuUs: 5.5, p50Ms: 6, p99Ms: 13 }),
    resultOf("fan-out http1", point, "socket.io <4>", { serverCpuUs: 13.5, p50Ms: 6, p99Ms: 15 }),
  ];
  const files = writePlots(results, folder);
  expect(files.map((file) => basename(file))).toEqual(["fan-out-cpu.svg", "fan-out-latency.svg"]);
  const [cpu = "", latency = ""] = await Promise.all(files.map((file) => readFile(file, "utf8")));
  const texts = [...cpu.matchAll(/<text[^>]*>([^<]*)</g)].map(([, text]) => text);
  const drawn = ["tributary, gRPC", "8.3", "raw http2", "5.5", "socket.io &lt;4&gt;", "13.5"];
  expect(texts.slice(1)).toEqual([point, ...drawn]);
  expect(latency).toContain("7.0 / 21.0");
});

test("a row is the median of its rounds with their range, and keeps the error of a failed one", () => {
  const result = (round: number, p50Ms: number | undefined): Result => ({
    case: "latency",
    point: "10 events/s",
    contender: "tributary",
    round,
    seconds: 1,
    figures: p50Ms === undefined ? {} : { p50Ms },
    ...(p50Ms === undefined ? { error: "went wrong" } : {}),
    date: "",
    environment: {} as Result["environment"],
  });
  const [row] = summarize([result(1, 9), result(2, 1), result(3, 2), result(4, undefined)]);
  expect(row?.figures.p50Ms).toEqual({ median: 2, min: 1, max: 9 });
  expect(row?.errors).toEqual(["went wrong"]);
});

test("events are counted and their times are read however the bytes are cut", () => {
  const history = { workflowId: "w", events: 250, batch: 100, payloadBytes: 60 };
  const messages = [opened("w"), ...readyBatches(history), batchOf([])];
  const bytes = Buffer.concat(
    messages.map((message) => toFrame(toBinary(StreamWorkflowConsolidatedResponseSchema, message))),
  );
  for (const size of [1, 2, 3, 4, 5, 6, 7, 100, 4096, bytes.byteLength]) {
    const counts: number[] = [];
    const stamps: (number | undefined)[] = [];
    const cutter = new FrameCutter((message) => {
      counts.push(countEvents(message, (of, start, end) => stamps.push(readStamp(of, start, end))));
    });
    for (let at = 0; at < bytes.byteLength; at += size) cutter.push(bytes.subarray(at, at + size));
    expect(counts, `chunks of ${size}`).toEqual([0, 100, 100, 50, 0]);
    expect(stamps).toEqual(Array.from({ length: 250 }, (_, i) => i + 1));
  }
});

test("records and frames are cut out however the bytes come", () => {
  const texts = [`{"offset":1}`, `{"offset":70000,"x":"${"y".repeat(300)}"}`, `{"offset":3}`];
  const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;
  const sse = Buffer.from(texts.map((text) => chunk(`id: 1\ndata: ${text}\n\n`)).join(""));
  const frame = (text: string) => {
    const size = Buffer.byteLength(text);
    const head = size < 126 ? [0x81, size] : [0x81, 126, size >> 8, size & 255];
    return Buffer.concat([Buffer.from(head), Buffer.from(text)]);
  };
  const webSocket = Buffer.concat(texts.map(frame));
  const offsets = (bytes: Buffer, size: number, create: (onText: OnText) => TextCutter) => {
    const found: number[] = [];
    const cutter = create((of, start, end) => void found.push(readJsonOffset(of, start, end)));
    for (let at = 0; at < bytes.byteLength; at += size)
      cutter.push(Buffer.from(bytes.subarray(at, at + size)));
    return found;
  };
  for (const size of [1, 2, 3, 5, 100, 1000]) {
    expect(
      offsets(sse, size, (onText) => new SseCutter(onText)),
      `chunks of ${size}`,
    ).toEqual([1, 70_000, 3]);
    expect(offsets(webSocket, size, (onText) => new WebSocketCutter(onText))).toEqual([1, 70_000, 3]);
  }
});

type OnText = ConstructorParameters<typeof SseCutter>[0];

test("a reader that gets an event twice, or out of order, fails the run", async () => {
  const message = (first: number) => {
    const { workflowId, ...rest } = { workflowId: "w", batch: 2, payloadBytes: 60 };
    const [batch] = readyBatches({ workflowId, events: 2, ...rest });
    const events = batch?.message?.message.case === "events" ? batch.message.message.value.events : [];
    for (const [i, event] of events.entries()) event.offset = BigInt(first + i);
    return Buffer.from(toBinary(StreamWorkflowConsolidatedResponseSchema, batchOf(events)));
  };
  const offsets: number[] = [];
  countEvents(message(300), (bytes, start, end) => offsets.push(readOffset(bytes, start, end)));
  expect(offsets).toEqual([300, 301]);

  const count = new DeliveryCount();
  const [one, other] = [count.live(), count.live()];
  for (const hear of [one, other]) hear(message(1));
  one(message(5));
  await count.finish(0, 10);
  one(message(6));
  await expect(count.finish(0, 10)).rejects.toThrow("event 6 came after 6");
});

test("updates of variables are read from the bytes: which one, its version, what it stands for, and when it was set", () => {
  const value = (us: number) => ({ kind: { case: "stringValue", value: stampedText(us, 60) } }) as const;
  const metadata = { why: "a test" };
  const updates = [1, 127, 128, 70_000].map((version, n) => ({
    variable: {
      workflowId: "w",
      name: variableName(n),
      value: value(version),
      metadata,
      version: BigInt(version),
    },
    oldValue: value(5),
    metadata,
    offset: BigInt(version),
    replaced: n,
  }));
  const bytes = toBinary(
    WatchVariablesResponseSchema,
    create(WatchVariablesResponseSchema, { message: { case: "updates", value: { updates } } }),
  );
  const read: unknown[] = [];
  expect(readUpdates(Buffer.from(bytes), (update) => read.push({ ...update }))).toBe(4);
  expect(read).toEqual([1, 127, 128, 70_000].map((version, n) => ({ n, version, replaced: n, us: version })));
});

test("a watcher that misses a version, or the last one, fails the run", async () => {
  const told = (version: number, replaced = 0) =>
    Buffer.from(
      toBinary(
        WatchVariablesResponseSchema,
        create(WatchVariablesResponseSchema, {
          message: {
            case: "updates",
            value: {
              updates: [{ variable: { name: variableName(0), version: BigInt(version) }, replaced }],
            },
          },
        }),
      ),
    );
  const count = new VersionCount();
  const hear = count.join(0);
  hear(told(1));
  hear(told(4, 2));
  await count.finish([[4]], 10);
  await expect(count.finish([[5]], 10)).rejects.toThrow("1 of 1 watchers do not have the last versions");
  hear(told(6));
  await expect(count.finish([[6]], 10)).rejects.toThrow(
    "version 6, standing for 0 more, came after version 4",
  );
});

test("a time is written into ready bytes without changing their length", () => {
  const bytes = Buffer.from(`${stampedText(0, 40)}|${stampedText(0, 40)}`);
  const positions = stampPositions(bytes);
  expect(positions).toHaveLength(2);
  writeStamp(bytes, positions, 1_234_567_890_123);
  expect(bytes.toString()).toBe(
    `${stampedText(1_234_567_890_123, 40)}|${stampedText(1_234_567_890_123, 40)}`,
  );
  expect(readStamp(bytes, 41, bytes.byteLength)).toBe(1_234_567_890_123);
  expect(readStamp(bytes, 41, 50)).toBeUndefined();
});

test("a batch of a session carries any number and time, and is otherwise the same", () => {
  const batch = new SessionBatch(sessionKinds["task events"], 3, 60);
  for (const sequence of [1, 127, 128, 16_384, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
    const message = batch.from(sequence, 1_234_567).subarray(headBytes);
    const { operation } = fromBinary(PublishTaskStreamRequestSchema, message);
    expect(operation).toMatchObject({ case: "batch", value: { firstSequence: BigInt(sequence) } });
    const payloads = operation.case === "batch" ? operation.value.events.map(({ payload }) => payload) : [];
    const value = stampedText(1_234_567, 60);
    expect(payloads).toEqual(Array.from({ length: 3 }, () => ({ case: "text", value })));
  }
});

test("a reader's entries are checked one by one: what is left out and what comes again is told", () => {
  const check = new EntryCheck();
  for (const entry of [0, 1, 2]) expect(check.hear(numbered(7, entry, 40))).toBe(true);
  expect(check.hear("{}")).toBe(false);
  expect(check).toMatchObject({ entries: 3, lost: 0, doubled: 0 });
  for (const entry of [5, 4, 6]) check.hear(numbered(7, entry, 40));
  check.hear(numbered(8, 0, 40));
  expect(check).toMatchObject({ entries: 6, lost: 2, doubled: 1 });
  expect([check.missing(7, 7), check.missing(7, 9), check.missing(9, 1)]).toEqual([0, 2, 1]);
});

test("the longest silence of each counts from the beginning, and while it lasts", () => {
  let now = 0;
  const pauses = new Pauses(2, () => now);
  const hearAt = (us: number, listener: number) => {
    now = us;
    pauses.hear(listener);
  };
  hearAt(1000, 0);
  hearAt(9000, 0);
  hearAt(10_000, 1);
  now = 12_000;
  expect(pauses.longestMs()).toEqual([8, 10]);
  pauses.begin();
  hearAt(13_000, 1);
  now = 16_000;
  expect(pauses.longestMs()).toEqual([3, 4]);
});
