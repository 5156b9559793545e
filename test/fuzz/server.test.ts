/**
 * Inputs of all kinds against a running server: `npm test` sends 5,000 of a new seed, `npm run test:full` 100,000. A failure
 * names its seed and number: TRIBUTARY_FUZZ=seed:number sends that input alone, TRIBUTARY_SEED=seed all of the seed.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { findOrphans } from "../../db/statements/find-orphans.ts";
import { everyRpc } from "../api/every-rpc.ts";
import { isFull, Random, seeds } from "../support/random.ts";
import { createTenant, useServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { soundCall } from "./call-inputs.ts";
import { inputOf } from "./generate.ts";
import { watchLoop } from "./loop-watch.ts";
import { watchNeighbours } from "./neighbours.ts";
import { regressions } from "./regressions.ts";
import { emptyFigures, type Figures, runInputs, runOne } from "./run.ts";
import { type Secrets, Sender } from "./send.ts";
import { Stored } from "./stored.ts";
import { type RpcTarget, rpcTargets, type Wire, wires } from "./targets.ts";
import { digestOf, makeWorld } from "./world.ts";

const inputs = isFull ? 100_000 : 5000;
/** Sent before the heap is measured: caches fill, code is compiled. */
const warmUp = isFull ? 5000 : 1000;
/** Longest step of the event loop, ms of CPU: the client's work is in it too. */
const longestStepMs = 1000;
/** The heap may be so much larger at the end, MiB. */
const heapMiB = 64;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;
function heapUsedMiB(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed / 2 ** 20;
}

// How long a commit takes is the machine's: that it was slow is no failure.
const server = useServer({ SLOW_COMMIT_MS: "60000" });
const stored = new Stored();
let secrets: Secrets;
/** Lines of the server's log about failures: bugs, and what it could live with. */
const logged: string[] = [];

beforeAll(async () => {
  secrets = await makeWorld(server);
  const { log } = server.server;
  for (const level of ["error", "warn"] as const) {
    vi.spyOn(log, level).mockImplementation((...args: unknown[]) => {
      const [about, text] = args as [{ err?: Error; why?: string }, string?];
      logged.push(`${level}: ${text ?? ""} ${about.err?.stack ?? about.why ?? ""}`);
    });
  }
  // Connect's own word for a call that it gave up.
  vi.spyOn(console, "error").mockImplementation((...args: unknown[]) => {
    logged.push(`console.error: ${args.map((arg) => (arg instanceof Error ? arg.stack : arg)).join(" ")}`);
  });
  return () => vi.restoreAllMocks();
});

async function withSender<T>(use: (sender: Sender) => Promise<T>): Promise<T> {
  const sender = new Sender(server.url, secrets);
  try {
    return await use(sender);
  } finally {
    sender.close();
  }
}

/** That an accepted event cannot be stored is said to whoever did not wait, and logged. */
const isStated = (line: string): boolean => line.startsWith("warn: an accepted event could not be stored");

function expectNoFailures(figures: Figures): void {
  const lines = logged.splice(0).filter((line) => !isStated(line));
  expect([...figures.failures, ...lines], [...figures.failures, ...lines].join("\n\n")).toEqual([]);
}

test("every RPC of the descriptors is a target", async () => {
  const names = rpcTargets.map(({ name }) => name);
  for (const { name } of await everyRpc()) expect(names).toContain(name);
});

test("a sound request of every target is answered over every wire: what is mutated would have been understood", async () => {
  const figures = emptyFigures();
  const [seed = 0] = seeds(1);
  const random = new Random(seed);
  await withSender(async (sender) => {
    const send = (target: RpcTarget, wire: Wire) =>
      runOne(
        sender,
        stored,
        soundCall(random, target, wire),
        `${target.name} ${JSON.stringify(wire)}`,
        figures,
      );
    for (const target of rpcTargets) for (const wire of wires) await send(target, wire);
    // Some are about what others have made, or have many conditions: of SetVariables one in sixteen is accepted.
    for (const target of rpcTargets) {
      for (let more = 1000; more > 0 && !figures.reached.has(target.name); more--)
        await send(target, random.pick(wires));
    }
  });
  expectNoFailures(figures);
  const missed = rpcTargets.map(({ name }) => name).filter((name) => !figures.reached.has(name));
  expect(missed, `TRIBUTARY_SEED=${seed}`).toEqual([]);
});

describe.runIf(Object.keys(regressions).length > 0)("what failed once", () => {
  test.each(Object.entries(regressions))("%s", async (name, input) => {
    const figures = emptyFigures();
    await withSender((sender) => runOne(sender, stored, input, name, figures));
    expectNoFailures(figures);
  });
});

const alone = process.env["TRIBUTARY_FUZZ"];
if (alone !== undefined) {
  test("the one input of TRIBUTARY_FUZZ", async () => {
    const [seed = 0, number = 0] = alone.split(":").map(Number);
    const figures = emptyFigures();
    await withSender((sender) => runOne(sender, stored, inputOf(seed, number), alone, figures));
    console.log(figures);
    expectNoFailures(figures);
  });
}

describe.each(alone === undefined ? seeds(1) : [])("with seed %i", (seed) => {
  test(`${inputs} inputs are answered or ended as they must be, and nothing is left of them (repeat it with TRIBUTARY_SEED=${seed})`, {
    timeout: isFull ? 900_000 : 180_000,
  }, async () => {
    const figures = emptyFigures();
    const calm = await watchNeighbours(await createTenant(server.admin, `calm-${seed}`));
    const before = await digestOf(server.pool, "globex");
    let now: ReadonlySet<string> = new Set();
    const steps: string[] = [];
    const loop = watchLoop(250, (ms) => steps.push(`${Math.round(ms)} ms with ${[...now].join(" ")}`));
    const began = performance.now();
    let heapBefore = 0;
    let heapAfter = 0;
    const gauges = () => server.server.gauges();
    await withSender(async (sender) => {
      for (const range of [
        [0, warmUp],
        [warmUp, inputs],
      ] as const) {
        const running = runInputs({ sender, stored }, seed, range, figures);
        now = running.now;
        await running.done;
        if (range[0] === 0) heapBefore = heapUsedMiB();
      }
    });
    const seconds = (performance.now() - began) / 1000;
    const { written, slowestMs, problems } = await calm.finish();
    loop.stop();
    await until(() => expect(gauges()).toEqual({ openCalls: 0, liveStreams: 0, waitingCommands: 0 }), 30_000);
    heapAfter = heapUsedMiB();
    report(seed, figures, {
      seconds,
      heapBefore,
      heapAfter,
      longestMs: loop.longestMs,
      steps,
      written,
      slowestMs,
    });

    expectNoFailures(figures);
    expect(problems).toEqual([]);
    expect(await digestOf(server.pool, "globex")).toEqual(before);
    expect(await findOrphans(server.pool)).toEqual([]);
    expect(stored.size).toBeGreaterThan(10);
    expect(await stored.findLost(server.acme)).toEqual([]);
    expect(loop.longestMs, steps.join("\n")).toBeLessThan(longestStepMs);
    expect(heapAfter - heapBefore, "MiB of heap").toBeLessThan(heapMiB);
    for (const { name } of rpcTargets) {
      expect(figures.byTarget.get(name) ?? 0, name).toBeGreaterThan(20);
    }
  });
});

interface Measured {
  readonly seconds: number;
  readonly heapBefore: number;
  readonly heapAfter: number;
  readonly longestMs: number;
  readonly steps: readonly string[];
  readonly written: number;
  readonly slowestMs: number;
}

/** Of the full run, and wherever TRIBUTARY_FUZZ_FIGURES asks for it. */
function report(seed: number, figures: Figures, measured: Measured): void {
  if (!isFull && process.env["TRIBUTARY_FUZZ_FIGURES"] === undefined && figures.failures.length === 0) return;
  const sorted = (map: Map<string, number>) => Object.fromEntries([...map].toSorted((a, b) => b[1] - a[1]));
  console.log(
    JSON.stringify(
      {
        seed,
        ...measured,
        codes: sorted(figures.codes),
        targets: sorted(figures.byTarget),
        slowest: figures.slowest,
      },
      undefined,
      1,
    ),
  );
}
