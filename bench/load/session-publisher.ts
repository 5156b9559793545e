/**
 * Publishes by sessions that stay open. Closed loop: each session sends as much as its credit allows; for throughput. Open
 * loop: batches leave by a timetable, round the sessions, and latency counts from the timetable to the ack that says durable.
 *
 * Both end by themselves: some time after `seconds` all must be acknowledged, or the run has failed, as it has with a
 * session that ends or is refused anything.
 */
import { nowUs, waitUntilUs } from "../measure/clock.ts";
import { Latencies } from "../measure/latencies.ts";
import { type Address, Connections } from "./connections.ts";
import type { Published } from "./publisher.ts";
import { Session } from "./session.ts";
import { SessionBatch } from "./session-batch.ts";
import { type SessionKindName, sessionKinds } from "./session-kind.ts";

export interface SessionLoad {
  readonly kind: SessionKindName;
  /** Workflows or memory spaces; session i writes to the one of number i modulo theirs. */
  readonly targets: readonly string[];
  readonly sessions: number;
  readonly eventsPerBatch: number;
  readonly payloadBytes: number;
}

/** Streams a connection carries at most, and how many connections share even a few. */
const connectionsFor = (sessions: number) => Math.max(Math.min(4, sessions), Math.ceil(sessions / 500));
/** Sessions that are opened at once. */
const opening = 100;
const settleLimitMs = 20_000;

export async function open(address: Address) {
  let connections: Connections | undefined;
  let sessions: Session[] = [];
  let eventsPerBatch = 0;

  /** Opens sessions; all are taken when it resolves. */
  async function begin(load: SessionLoad): Promise<void> {
    const own = await Connections.open(address, connectionsFor(load.sessions));
    connections = own;
    eventsPerBatch = load.eventsPerBatch;
    const kind = sessionKinds[load.kind];
    const batch = new SessionBatch(kind, load.eventsPerBatch, load.payloadBytes);
    const targetOf = (i: number) => load.targets[i % load.targets.length] ?? "";
    for (let i = 0; i < load.sessions; i += opening) {
      const some = Array.from({ length: Math.min(opening, load.sessions - i) }, (_, n) =>
        Session.open(own, kind, targetOf(i + n), batch),
      );
      sessions.push(...(await Promise.all(some)));
    }
  }

  /** Breaks all off. */
  async function leave(): Promise<void> {
    sessions = [];
    connections?.close();
    connections = undefined;
  }

  function collect() {
    const ack = new Latencies();
    let lastUs = nowUs();
    const record = (plannedUs: number) => {
      lastUs = nowUs();
      ack.record(lastUs - plannedUs);
    };
    const published = (began: number, late: Latencies): Published => {
      const summary = ack.summary();
      const events = summary.count * eventsPerBatch;
      const seconds = (lastUs - began) / 1e6;
      return { messages: summary.count, events, seconds, ack: summary, late: late.summary() };
    };
    return { record, published };
  }

  async function settle(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const why = `not everything was acknowledged ${settleLimitMs / 1000} s after the end`;
      timer = setTimeout(() => reject(new Error(why)), settleLimitMs);
    });
    try {
      await Promise.race([late, Promise.all(sessions.map((session) => session.settled()))]);
    } finally {
      clearTimeout(timer);
    }
  }

  async function closedLoop(seconds: number): Promise<Published> {
    const { record, published } = collect();
    const began = nowUs();
    const deadline = began + seconds * 1e6;
    for (const session of sessions) {
      const feed = () => {
        for (let now = nowUs(); now < deadline && session.hasRoom; now = nowUs()) session.send(now);
      };
      session.onDurable = (plannedUs) => (plannedUs === undefined ? feed() : record(plannedUs));
      feed();
    }
    await waitUntilUs(deadline);
    await settle();
    return published(began, new Latencies());
  }

  async function openLoop(seconds: number, eventsPerSecond: number): Promise<Published> {
    const { record, published } = collect();
    const late = new Latencies();
    const perSecond = eventsPerSecond / eventsPerBatch;
    const batches = Math.max(1, Math.round(perSecond * seconds));
    for (const session of sessions) {
      session.onDurable = (plannedUs) => {
        if (plannedUs !== undefined) record(plannedUs);
      };
    }
    const began = nowUs() + 5000;
    for (let i = 0; i < batches; i += 1) {
      const planned = began + Math.round((i * 1e6) / perSecond);
      await waitUntilUs(planned);
      late.record(nowUs() - planned);
      sessions[i % sessions.length]?.send(planned);
    }
    await settle();
    return published(began, late);
  }

  return { methods: { begin, leave, closedLoop, openLoop }, close: () => leave() };
}
