/**
 * Many producers by the TypeScript client, a session each, that write by a timetable whatever happens. Of each entry the time
 * from the timetable until it is settled (stored, and acknowledged as that) counts, so a server that is away counts in full.
 */
import type { TaskSession } from "../../client/index.ts";
import { nowUs } from "../measure/clock.ts";
import { numbered } from "./numbered-entries.ts";
import { clientsOf, type SdkOptions, type Written } from "./sdk-readers.ts";

export interface ProducerLoad {
  /** Producer i writes to workflow i modulo their number. */
  readonly workflows: readonly string[];
  readonly producers: number;
  /** Entries, of each producer. */
  readonly perSecond: number;
  readonly payloadBytes: number;
}

/** How exactly waits are told, ms. */
const lookEveryMs = 5;
const clientCount = 4;

interface Producer {
  readonly workflowId: string;
  readonly session: TaskSession;
  /** When each entry was due, µs. */
  readonly dueUs: number[];
  settled: number;
  longestUs: number;
}

export async function open(options: SdkOptions) {
  const clients = clientsOf(options, clientCount);
  let producers: Producer[] = [];
  let timer: NodeJS.Timeout | undefined;
  let failure: unknown;

  /** Opens the sessions, and goes on writing until `finish`. */
  async function begin({
    workflows,
    producers: count,
    perSecond,
    payloadBytes,
  }: ProducerLoad): Promise<void> {
    producers = Array.from({ length: count }, (_, i) => {
      const workflowId = workflows[i % workflows.length] ?? "";
      const session = clients[i % clients.length]?.openSession({ workflowId });
      if (session === undefined) throw new Error("no client");
      return { workflowId, session, dueUs: [], settled: 0, longestUs: 0 };
    });
    await Promise.all(producers.map(({ session }) => session.opened));
    const began = nowUs();
    timer = setInterval(() => {
      const now = nowUs();
      for (const [i, producer] of producers.entries()) {
        for (;;) {
          // Not all at the same moment.
          const due = began + ((producer.dueUs.length + i / count) * 1e6) / perSecond;
          if (due > now) break;
          write(producer, i, due, payloadBytes);
        }
        look(producer, now);
      }
    }, lookEveryMs);
  }

  function write(producer: Producer, writer: number, dueUs: number, bytes: number): void {
    const text = numbered(writer, producer.dueUs.length, bytes);
    producer.dueUs.push(dueUs);
    producer.session
      .task("worker")
      .token(text)
      .catch((error: unknown) => {
        failure ??= error;
      });
  }

  function look(producer: Producer, now: number): void {
    for (; producer.settled < producer.session.settled; producer.settled++) {
      const waited = now - (producer.dueUs[producer.settled] ?? now);
      producer.longestUs = Math.max(producer.longestUs, waited);
    }
  }

  /** Writes no more, and resolves when everything is settled. */
  async function finish(): Promise<readonly Written[]> {
    clearInterval(timer);
    await Promise.all(producers.map(({ session }) => session.close()));
    const now = nowUs();
    for (const producer of producers) look(producer, now);
    if (failure !== undefined) throw failure;
    return producers.map(({ workflowId, dueUs }, writer) => ({ writer, workflowId, entries: dueUs.length }));
  }

  return {
    methods: {
      begin,
      finish,
      async beginWaits() {
        for (const producer of producers) producer.longestUs = 0;
      },
      /** The longest wait for an acknowledgement of each, ms, rising. */
      waits: async () => producers.map(({ longestUs }) => longestUs / 1000).toSorted((a, b) => a - b),
    },
    close() {
      clearInterval(timer);
      for (const client of clients) client.close();
    },
  };
}
