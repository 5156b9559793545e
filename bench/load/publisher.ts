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
  /** Also: variables of a SetVariables. */
  readonly eventsPerMessage: number;
  readonly payloadBytes: number;
  readonly seconds: number;
  /** Of each workflow, where they are set one by one. */
  readonly variables?: number;
}

/**
 * How a message travels: each in a PublishTaskEvents call of its own, all in one open PublishTaskEvents call, or (one event
 * each) by StreamTaskData, which answers before the commit. Variables: by SetVariables, each message the same ones; or one
 * each by SetVariable, round the workflow's.
 */
export type Via = "call each" | "one call" | "task data" | "variables" | "variable";

const pathOf: Readonly<Record<Via, string>> = {
  "call each": paths.publishTaskEvents,
  "one call": paths.publishTaskEvents,
  "task data": paths.streamTaskData,
  variables: paths.setVariables,
  variable: paths.setVariable,
};

export interface Published {
  readonly messages: number;
  /** With those that were acknowledged too late to count. */
  readonly sent?: number;
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

  const templatesFor = (load: Load, via: Via) => {
    const { workflows, eventsPerMessage, payloadBytes, variables = 1 } = load;
    switch (via) {
      case "task data":
        return workflows.map((id) => MessageTemplate.ofOne(id, payloadBytes));
      case "variables":
        return workflows.map((id) => MessageTemplate.ofVariables(id, eventsPerMessage, payloadBytes));
      case "variable":
        return Array.from({ length: variables }, (_, n) =>
          workflows.map((id) => MessageTemplate.ofVariable(id, n, payloadBytes)),
        ).flat();
      default:
        return workflows.map((id) => MessageTemplate.ofEvents(id, eventsPerMessage, payloadBytes));
    }
  };

  async function send(path: string, bytes: Buffer): Promise<void> {
    const stream = connections.call(path);
    stream.resume();
    stream.end(bytes);
    await ended(stream);
  }

  async function closedLoop(
    load: Load & { readonly inFlight: number; readonly via?: Via },
  ): Promise<Published> {
    const { via = "call each" } = load;
    const templates = templatesFor(load, via);
    const ack = new Latencies();
    const began = nowUs();
    const deadline = began + load.seconds * 1e6;
    let messages = 0;
    let next = 0;
    await Promise.all(
      Array.from({ length: load.inFlight }, async () => {
        for (let sent = nowUs(); sent < deadline; sent = nowUs()) {
          const template = templates[next++ % templates.length] as MessageTemplate;
          await send(pathOf[via], template.stamped(sent));
          const now = nowUs();
          if (now > deadline) return;
          ack.record(now - sent);
          messages += 1;
        }
      }),
    );
    return {
      messages,
      sent: next,
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
        send(pathOf[via], bytes).then(
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
      sent: messages,
      events: messages * load.eventsPerMessage,
      seconds: (nowUs() - began) / 1e6,
      ack: ack.summary(),
      late: late.summary(),
    };
  }

  return { methods: { closedLoop, openLoop }, close: () => connections.close() };
}
