/**
 * A stored stream read from the beginning. Two consumers: one that only counts (what the server can give) and the client of
 * this project (what a consumer gets). A run ends when all is read or after a few seconds; the rate counts.
 */
import type { Bench } from "../bench.ts";
import type { Figures } from "../report/figures.ts";
import { openTarget, type TargetName } from "../targets.ts";
import { bySize, type Case, type Contender } from "./case.ts";

const payloadBytes = 100;
/** Entries of a page, and so of a message, when a reader is far behind. */
const batch = 1000;
/** A run is cut off after so many measuring phases. */
const mostPhases = 3;

interface Replayed {
  readonly events: number;
  readonly messages: number;
  readonly seconds: number;
}

export const replay: Case = {
  name: "replay",
  about:
    "a stored stream of 100,000 events of 100 bytes from offset 0; all readers together. “counting”: a reader that counts frames; “client”: one that decodes with connect-node",
  columns: [
    "readMs",
    "eventsPerSecond",
    "eventsPerMessage",
    "serverCpuUs",
    "serverCpuPercent",
    "databaseCpuPercent",
    "loadCpuPercent",
    "rssMb",
  ],
  contests(size) {
    const events = bySize(size, { full: 100_000, quick: 100_000, smoke: 5000 });
    return bySize(size, { full: [1, 8], quick: [1, 8], smoke: [2] }).map((readers) => ({
      point: `${readers} reader${readers === 1 ? "" : "s"}`,
      contenders: [
        served("tributary", "reader", events, readers),
        served("tributary", "connect reader", events, readers),
        bareSelect(events, readers),
        served("stock connect-node", "reader", events, readers),
        served("stock connect-node", "connect reader", events, readers),
        served("raw http2", "reader", events, readers),
      ],
    }));
  },
};

function served(
  name: TargetName,
  consumer: "reader" | "connect reader",
  events: number,
  readers: number,
): Contender {
  return {
    name: `${name}, ${consumer === "reader" ? "counting" : "client"}`,
    async run(bench) {
      const stored = await bench.stored(events, payloadBytes);
      const history = { workflowId: stored.workflowId, events: stored.events, batch, payloadBytes };
      const target = await openTarget(bench, name, {
        databaseUrl: name === "tributary" ? await bench.database(stored.template) : undefined,
        history,
      });
      const load = await bench.spawn(consumer, { ...target.address, apiKey: target.apiKey });
      const read = (limitMs: number): Promise<Replayed> =>
        load.call("replay", stored.workflowId, readers, stored.events, limitMs);
      await warmUp(bench, read);
      const { result, used } = await bench.measure(target.server, [load], () => read(limitOf(bench)));
      return {
        ...toFigures(result, stored.events * readers),
        ...used.figures,
        serverCpuUs: (used.server?.cpuUs ?? 0) / Math.max(1, result.events),
      };
    },
  };
}

function bareSelect(events: number, readers: number): Contender {
  return {
    name: "bare select",
    async run(bench) {
      const stored = await bench.stored(events, payloadBytes);
      const url = await bench.database(stored.template);
      const script = await bench.spawn("bare select", { url, page: batch });
      const read = (limitMs: number): Promise<Replayed> =>
        script.call("replay", stored.workflowId, readers, stored.events, limitMs);
      await warmUp(bench, read);
      const { result, used } = await bench.measure(undefined, [script], () => read(limitOf(bench)));
      return { ...toFigures(result, stored.events * readers), ...used.figures };
    },
  };
}

/** As long as it says, and not one replay alone: that would be over before the code is compiled. */
async function warmUp(bench: Bench, read: (limitMs: number) => Promise<Replayed>): Promise<void> {
  const end = performance.now() + bench.warmUpSeconds * 1000;
  while (performance.now() < end) await read(bench.warmUpSeconds * 1000);
}

const limitOf = ({ seconds }: Bench) => seconds * 1000 * mostPhases;

function toFigures({ events, messages, seconds }: Replayed, all: number): Figures {
  if (events === 0) throw new Error("nothing was read");
  return {
    ...(events < all ? {} : { readMs: seconds * 1000 }),
    eventsPerSecond: events / seconds,
    eventsPerMessage: events / Math.max(1, messages),
  };
}
