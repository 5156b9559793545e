/**
 * Publishes. Closed loop: so many calls in flight, each loop sends its next message when the last one was acknowledged; for
 * throughput. Open loop: messages leave by a timetable, whatever happens to those before, and latency counts from the
 * timetable, so that a stall counts for everything it delays (coordinated omission).
 *
 * Both end by themselves after `seconds`. A call that fails fails the run.
 */

import { nowUs, waitUntilUs } from "../measure/clock.ts";
import { Latencies, type LatencySummary } from "../measure/latencies.ts";
import { paths } from "../wire/paths.ts";
import { type Address, Connections, ended } from "./connections.ts";
import { MessageTemplate } from "./message.ts";

export interface Load {
  readonly workflows: readonly string[];
  readonly eventsPerMessage: number;
  readonly payloadBytes: number;
  readonly seconds: number;
}

/**
 * How a message travels: each in a PublishTaskEvents call of its own, all in one open PublishTaskEvents call, or (one event
 * each) by StreamTaskData, which answers before the commit.
 */
export type Via = "call each" | "one call" | "task data";

export interface Published {
  readonly messages: number;
  readonly events: number;
  /** From the first send to the last acknowledgement that counts. */
  readonly seconds: number;
  readonly ack: LatencySummary;
  /** How much later than planned messages left: the load's own share of all latencies. */
  readonly late: LatencySummary;
}

const connectionCount = 4;
/** More calls than this are never open: beyond, messages wait, and their latency counts. */
const mostInFlight = 20_000;

export async function open(address: Address) {
  const connections = await Connections.open(address, connectionCount);

  const templatesFor = ({ workflows, eventsPerMessage, payloadBytes }: Load, via: Via) =>
    workflows.map((id) =>
      via === "task data"
        ? MessageTemplate.ofOne(id, payloadBytes)
        : MessageTemplate.ofEvents(id, eventsPerMessage, payloadBytes),
    );

  async function send(path: string, bytes: Buffer): Promise<void> {
    const stream = connections.call(path);
    stream.resume();
    stream.end(bytes);
    await ended(stream);
  }

  async function closedLoop(load: Load & { readonly inFlight: number }): Promise<Published> {
    const templates = templatesFor(load, "call each");
    const ack = new Latencies();
    const began = nowUs();
    const deadline = began + load.seconds * 1e6;
    let messages = 0;
    let next = 0;
    await Promise.all(
      Array.from({ length: load.inFlight }, async () => {
        for (let sent = nowUs(); sent < deadline; sent = nowUs()) {
          const template = templates[next++ % templates.length] as MessageTemplate;
          await send(paths.publishTaskEvents, template.stamped(sent));
          const now = nowUs();
          if (now > deadline) return;
          ack.record(now - sent);
          messages += 1;
        }
      }),
    );
    return {
      messages,
      events: messages * load.eventsPerMessage,
      seconds: load.seconds,
      ack: ack.summary(),
      late: new Latencies().summary(),
    };
  }

  async function openLoop(
    load: Load & { readonly perSecond: number; readonly via: Via },
  ): Promise<Published> {
    const { via, perSecond, seconds } = load;
    const templates = templatesFor(load, via);
    const ack = new Latencies();
    const late = new Latencies();
    const messages = Math.max(1, Math.round(perSecond * seconds));
    const began = nowUs() + 5000;
    let inFlight = 0;
    let failure: Error | undefined;
    let onRoom = () => {};
    const long = via === "one call" ? connections.call(paths.publishTaskEvents).resume() : undefined;
    const longEnded = long === undefined ? Promise.resolve() : ended(long);
    longEnded.catch(() => {}); // told at the end
    const path = via === "task data" ? paths.streamTaskData : paths.publishTaskEvents;
    const all: Promise<void>[] = [];

    for (let i = 0; i < messages && failure === undefined; i += 1) {
      const planned = began + Math.round((i * 1e6) / perSecond);
      await waitUntilUs(planned);
      while (inFlight >= mostInFlight)
        await new Promise<void>((resolve) => {
          onRoom = resolve;
        });
      late.record(nowUs() - planned);
      const bytes = (templates[i % templates.length] as MessageTemplate).stamped(planned);
      if (long !== undefined) {
        long.write(bytes);
        continue;
      }
      inFlight += 1;
      all.push(
        send(path, bytes).then(
          () => {
            ack.record(nowUs() - planned);
            inFlight -= 1;
            onRoom();
          },
          (error: Error) => {
            failure ??= error;
            inFlight -= 1;
            onRoom();
          },
        ),
      );
    }
    long?.end();
    await Promise.all([...all, longEnded]);
    if (failure !== undefined) throw failure;
    return {
      messages,
      events: messages * load.eventsPerMessage,
      seconds: (nowUs() - began) / 1e6,
      ack: ack.summary(),
      late: late.summary(),
    };
  }

  return { methods: { closedLoop, openLoop }, close: () => connections.close() };
}
