/**
 * A random life of a cluster: trees grow, producers of all kinds write, readers of all kinds read, at whichever instance
 * answers, while faults happen. Then all is healed and ended, and every history is compared with the tables.
 */
import { findOrphans } from "../../../db/statements/find-orphans.ts";
import { Random } from "../../support/random.ts";
import { type Cast, createCast } from "./cast.ts";
import { checkCancellations, checkProducers } from "./check-producers.ts";
import { ReaderCheck } from "./check-readers.ts";
import { checkStreams } from "./check-streams.ts";
import { checkVariables } from "./check-variables.ts";
import { Cluster, type ClusterOptions } from "./cluster.ts";
import { runFaults } from "./fault-schedule.ts";
import { type FaultName, faultNames } from "./faults.ts";
import { Forest } from "./forest.ts";
import { nap, Stage } from "./stage.ts";
import { Archive, readTruth } from "./truth.ts";
import { Witness } from "./witness.ts";

export interface LifeOptions {
  readonly seed: number;
  readonly faults: number;
  /** At least so many are stored and checked. */
  readonly events: number;
  readonly kinds?: readonly FaultName[];
  readonly cluster?: Partial<ClusterOptions>;
  /** How long all may take to come to its end once healed, ms. */
  readonly patienceMs?: number;
}

export interface LifeReport {
  readonly problems: readonly string[];
  /** Done to the cluster, with times. */
  readonly log: readonly string[];
  readonly faults: number;
  /** Stored, each compared with what was sent. */
  readonly events: number;
  /** To all readers, each compared with what is stored. */
  readonly deliveries: number;
  readonly counts: ReadonlyMap<string, number>;
  /** Of opening, playing, ending and checking. */
  readonly seconds: readonly number[];
}

/** Of the load, for each fault, ms. */
const pacePerFaultMs = 900;

export async function live(options: LifeOptions): Promise<LifeReport> {
  const { seed, patienceMs = 60_000 } = options;
  const marks = [Date.now()];
  const mark = () => marks.push(Date.now());
  const random = new Random(seed);
  const witness = new Witness();
  const cluster = await Cluster.open({ random: new Random(seed + 1), ...options.cluster });
  const stage = new Stage(cluster, random, witness);
  try {
    const forest = new Forest(stage);
    const archive = new Archive();
    witness.note("the cluster is up");
    mark();
    const cast = await createCast(stage, forest, options.events);
    await play(options, stage, cast, archive);
    witness.note("healed");
    mark();
    await end(stage, cast, patienceMs);
    mark();
    const { events, deliveries, problems } = await check(stage, cast, archive);
    mark();
    return {
      problems: [...cluster.instances.flatMap(({ crashes }) => crashes), ...witness.problems, ...problems],
      log: witness.log,
      faults: options.faults,
      events,
      deliveries,
      counts: witness.counts,
      seconds: marks.slice(1).map((ms, i) => Math.round((ms - (marks[i] ?? ms)) / 1000)),
    };
  } finally {
    stage.isClosed = true;
    await cluster.close();
  }
}

/** The load rises evenly while faults happen. */
async function play(
  { seed, faults, kinds = faultNames }: LifeOptions,
  stage: Stage,
  cast: Cast,
  archive: Archive,
): Promise<void> {
  const beganMs = Date.now();
  const pace = setInterval(() => cast.pace((Date.now() - beganMs) / (faults * pacePerFaultMs)), 50);
  try {
    await runFaults(
      {
        stage,
        archive,
        forest: cast.forest,
        readers: cast.readers,
        addSession: (session) => cast.addSession(session),
      },
      kinds,
      faults,
      new Random(seed + 2),
    );
    await stage.cluster.heal().catch((error: Error) => stage.witness.blame("the cluster", error.message));
  } finally {
    clearInterval(pace);
  }
}

/** Everything is brought to its end, in time. */
async function end(stage: Stage, cast: Cast, patienceMs: number): Promise<void> {
  const within = async (what: string, work: Promise<unknown>, onLate: () => void) => {
    const late = nap(patienceMs).then(() => "late");
    if ((await Promise.race([work, late])) !== "late") return stage.witness.note(`${what}: at their end`);
    stage.witness.blame(what, `not at its end ${patienceMs} ms after all was healed`);
    onLate();
  };
  stage.over = true;
  cast.pace(1);
  await within("writers", cast.finishWriting(), () => cast.explainWriters());
  await within("closing", cast.closeAll(), () => {});
  cast.readAgain();
  await within("readers", Promise.all(cast.reading), () => cast.explainReaders());
  await within("recalls", cast.endRecalls(), () => cast.explainReaders());
}

async function check(
  { cluster }: Stage,
  cast: Cast,
  archive: Archive,
): Promise<{ events: number; deliveries: number; problems: string[] }> {
  const truth = await readTruth(cluster.pool, archive);
  const readers = new ReaderCheck(truth);
  const logs = [...cast.readers, ...cast.watchers, ...cast.recalls.map(({ reader }) => reader)].flatMap(
    (reader) => reader.logs,
  );
  const problems = [
    ...checkStreams(truth, cast.forest),
    ...checkProducers(truth, cast.sessions, cast.singles),
    ...checkCancellations(cast.sessions, cast.forest),
    ...checkVariables(truth, cast.variableWriters),
    ...cast.readers.flatMap((reader) => reader.logs.flatMap((log) => readers.events(log))),
    ...cast.watchers.flatMap((reader) => reader.logs.flatMap((log) => readers.variables(log))),
    ...cast.snapshots.flatMap((snapshot) => readers.snapshot(snapshot)),
    ...cast.recalls.flatMap(({ reader, word }) => reader.logs.flatMap((log) => readers.recall(log, word))),
    ...(await findOrphans(cluster.pool)),
  ];
  return {
    problems,
    events: truth.streams.reduce((sum, { rows }) => sum + rows.length, 0),
    deliveries: logs.reduce((sum, { offsets }) => sum + offsets.length, 0),
  };
}
