/** Small scenes, each about one guarantee. What went wrong is answered; empty: nothing. */
import type pg from "pg";
import { AckLevel, EventType } from "../../../gen/tributary/v1/event_pb.ts";
import { newWorkflow } from "../../api/trees.ts";
import { waitingForLock } from "../../support/database.ts";
import type { Clients } from "../../support/server.ts";
import { openSession, SessionCall } from "../../support/session-call.ts";
import { holdStreams } from "../../support/stream-lock.ts";
import { until } from "../../support/until.ts";
import type { Instance } from "./instance.ts";

export interface SceneParts {
  /** Two that are as they should be. */
  readonly sound: Instance;
  readonly other: Instance;
  readonly pool: pg.Pool;
  readonly databaseUrl: string;
  /** At this instance, on connections of their own. */
  clients(instance: Instance): Clients;
}

const numbers = (from: number, to: number, who = ""): string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => `${who}${from + i}`);

/** A reader at an instance that hears nothing from NATS gets everything all the same, within seconds. */
export async function deafReader(
  parts: SceneParts,
  instance: Instance,
  patienceMs: number,
): Promise<string[]> {
  const writer = parts.clients(parts.sound);
  const workflowId = await newWorkflow(writer);
  const reader = await Following.start(parts.clients(instance), workflowId);
  instance.noise.deaf = true;
  try {
    for (const n of [1, 2, 3]) await publish(writer, workflowId, n);
    return await reader.complete(3, patienceMs);
  } finally {
    instance.noise.deaf = false;
    await reader.stop();
  }
}

/** A notice that is lost between two others delays what it told, and changes nothing else. */
export async function holeInNotices(
  parts: SceneParts,
  instance: Instance,
  patienceMs: number,
): Promise<string[]> {
  const writer = parts.clients(parts.sound);
  const workflowId = await newWorkflow(writer);
  const reader = await Following.start(parts.clients(instance), workflowId);
  const { noise } = instance;
  try {
    let n = 0;
    const upTo = async (last: number) => {
      while (n < last) await publish(writer, workflowId, ++n);
    };
    await upTo(10);
    // The tail check may be just then: not each time.
    for (let round = 0; round < 5; round++) {
      const problems = await reader.complete(n, patienceMs);
      if (problems.length > 0) return problems;
      const touched = noise.touched;
      noise.deaf = true;
      await upTo(n + 2);
      await until(() => {
        if (noise.touched < touched + 2) throw new Error("the notices are still on their way");
      });
      noise.deaf = false;
      await upTo(n + 3);
    }
    return await reader.complete(n, patienceMs);
  } finally {
    noise.deaf = false;
    await reader.stop();
  }
}

/** An instance dies with entries that wait for a locked stream: none of them was said to be durable. */
export async function ackBeforeDeath(parts: SceneParts, instance: Instance): Promise<string[]> {
  const workflowId = await newWorkflow(parts.clients(parts.sound));
  const call = await openSession(parts.clients(instance), workflowId, { ackLevel: AckLevel.ACCEPTED });
  const { sessionId } = await call.opened();
  const lock = await holdStreams(parts.databaseUrl, workflowId);
  call.batch(1, numbers(1, 1));
  await until(() => waitingForLock(parts.pool));
  // These wait behind the commit that is under way, which Postgres may end without its instance.
  call.batch(2, numbers(2, 20));
  await call.accepted(20);
  await call.heard();
  await instance.stop("SIGKILL");
  await lock.release();
  await call.ended.catch(() => {}); // it was killed
  const durable = Number(
    call.all("ack").findLast(({ level }) => level === AckLevel.DURABLE)?.upToSequence ?? 0,
  );
  const resumed = await openSession(parts.clients(parts.sound), workflowId, { sessionId });
  const { lastSequence } = await resumed.opened();
  resumed.cut();
  await instance.start();
  return Number(lastSequence) < durable
    ? [`${durable} were durable, of which ${lastSequence} are there`]
    : [];
}

/**
 * An instance is paused with entries of a session in its queue; the session goes on elsewhere, and says the same numbers
 * otherwise; then the paused one wakes. What the newer connection was told to be durable is what is stored.
 */
export async function pausedWriter(parts: SceneParts, instance: Instance): Promise<string[]> {
  const workflowId = await newWorkflow(parts.clients(parts.sound));
  const call = await openSession(parts.clients(instance), workflowId, { ackLevel: AckLevel.ACCEPTED });
  const { sessionId } = await call.opened();
  const lock = await holdStreams(parts.databaseUrl, workflowId);
  call.batch(1, numbers(1, 1, "old "));
  await until(() => waitingForLock(parts.pool));
  // These wait behind the commit that is under way.
  call.batch(2, numbers(2, 100, "old "));
  await call.accepted(100);
  instance.pause();
  await lock.release();
  const moved = new SessionCall(parts.clients(parts.sound));
  moved.say("init", { workflowId, session: { sessionId } });
  const from = Number((await moved.opened()).lastSequence) + 1;
  moved.batch(from, numbers(from, from + 9, "new "));
  await moved.durable(from + 9);
  instance.wake();
  // It is told that another one has the session, or what it should not be told.
  const ended = call.ended.catch(() => {});
  await Promise.race([ended, call.durable(100, 30_000).catch(() => ended)]);
  moved.batch(from + 10, numbers(from + 10, from + 19, "new "));
  await moved.durable(from + 19);
  moved.cut();
  const { rows } = await parts.pool.query(
    "select convert_from(payload, 'UTF8') as text from event where producer_id = $1 order by \"offset\"",
    [sessionId],
  );
  const stored = rows.map(({ text }) => text);
  const expected = [...numbers(1, from - 1, "old "), ...numbers(from, from + 19, "new ")];
  return stored.join() === expected.join() ? [] : [`stored ${stored}; acknowledged ${expected}`];
}

async function publish({ tasks }: Clients, workflowId: string, n: number): Promise<void> {
  await tasks.streamTaskData({
    workflowExecutionId: workflowId,
    taskExecutionId: "t",
    type: EventType.TOKEN,
    payload: `${n}`,
    waitForDurable: true,
  });
}

/** A reader of one connection: what it got. */
class Following {
  readonly #offsets: number[] = [];
  readonly #abort = new AbortController();
  #run: Promise<void> = Promise.resolve();
  #live = false;

  static async start({ streams }: Clients, workflowId: string): Promise<Following> {
    const following = new Following();
    following.#run = (async () => {
      const answers = streams.streamWorkflow({ workflowId }, { signal: following.#abort.signal });
      for await (const { message } of answers) {
        following.#live = true;
        if (message?.message.case === "events")
          following.#offsets.push(...message.message.value.events.map(({ offset }) => Number(offset)));
      }
    })().catch(() => {}); // stopped
    await until(() => {
      if (!following.#live) throw new Error("not live yet");
    });
    return following;
  }

  /** The creation and so many events, once and in order? Else what it got within this time. */
  async complete(count: number, patienceMs: number): Promise<string[]> {
    const expected = numbers(1, count + 1).join();
    const look = () => {
      if (this.#offsets.join() !== expected) throw new Error(`got ${this.#offsets} of ${expected}`);
    };
    return until(look, patienceMs).then(
      () => [],
      (error: Error) => [error.message],
    );
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#run;
  }
}
