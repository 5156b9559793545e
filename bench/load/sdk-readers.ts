/**
 * Many readers by the TypeScript client, which knows all instances and resumes by itself. What each gets is checked entry by
 * entry, and its longest silence noted.
 */
import { createTributaryClient, type TributaryClient } from "../../client/index.ts";
import { nowUs } from "../measure/clock.ts";
import { EntryCheck } from "./numbered-entries.ts";
import { Pauses } from "./pauses.ts";

export interface SdkOptions {
  /** Of all instances. */
  readonly urls: readonly string[];
  readonly credential: string;
}

/** What writers, by their number, wrote to the workflow that a reader follows. */
export interface Written {
  readonly writer: number;
  readonly workflowId: string;
  readonly entries: number;
}

/** Each has a connection, and begins at another instance than the one before. */
const clientCount = 12;
const lookEveryMs = 20;
const openLimitMs = 30_000;

export const clientsOf = ({ urls, credential }: SdkOptions, count: number): TributaryClient[] =>
  Array.from({ length: count }, (_, i) => {
    const first = i % urls.length;
    return createTributaryClient({ baseUrl: [...urls.slice(first), ...urls.slice(0, first)], credential });
  });

export async function open(options: SdkOptions) {
  const clients = clientsOf(options, clientCount);
  const leaving = new AbortController();
  const readers: { readonly workflowId: string; readonly check: EntryCheck; live: boolean }[] = [];
  let pauses = new Pauses(0, nowUs);
  let interruptions = 0;
  let failure: unknown;

  /** Reader i follows workflow i modulo their number; all are live when it resolves. */
  async function follow(workflows: readonly string[], count: number): Promise<void> {
    pauses = new Pauses(count, nowUs);
    for (let i = 0; i < count; i += 1) {
      readers.push({
        workflowId: workflows[i % workflows.length] ?? "",
        check: new EntryCheck(),
        live: false,
      });
      read(i).catch((error: unknown) => {
        failure ??= error;
      });
    }
    await until(() => readers.every(({ live }) => live), openLimitMs);
  }

  async function read(i: number): Promise<void> {
    const reader = readers[i];
    const client = clients[i % clients.length];
    if (reader === undefined || client === undefined) return;
    for await (const item of client.followTree(reader.workflowId, { signal: leaving.signal })) {
      if (item.kind === "opened") reader.live = true;
      if (item.kind === "interrupted") interruptions++;
      if (item.kind !== "events") continue;
      for (const { payload } of item.events) {
        if (payload.case === "text" && reader.check.hear(payload.value)) pauses.hear(i);
      }
    }
  }

  /** Resolves when every reader has all that was written, or the time is over. */
  async function finish(written: readonly Written[], limitMs: number) {
    const missing = () =>
      readers.reduce((sum, { workflowId, check }) => {
        const own = written.filter((each) => each.workflowId === workflowId);
        return sum + own.reduce((more, { writer, entries }) => more + check.missing(writer, entries), 0);
      }, 0);
    await until(() => missing() === 0, limitMs).catch(() => {}); // how much is missing is told
    const sum = (of: (check: EntryCheck) => number) =>
      readers.reduce((total, { check }) => total + of(check), 0);
    return {
      lost: missing() + sum(({ lost }) => lost),
      doubled: sum(({ doubled }) => doubled),
      interruptions,
    };
  }

  async function until(reached: () => boolean, limitMs: number): Promise<void> {
    const deadline = nowUs() + limitMs * 1000;
    while (!reached()) {
      if (failure !== undefined) throw failure;
      if (nowUs() > deadline) throw new Error(`not within ${limitMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, lookEveryMs));
    }
    if (failure !== undefined) throw failure;
  }

  return {
    methods: {
      follow,
      finish,
      beginPauses: async () => pauses.begin(),
      pauses: async () => pauses.longestMs(),
      entries: async () => readers.reduce((sum, { check }) => sum + check.entries, 0),
    },
    close() {
      leaving.abort();
      for (const client of clients) client.close();
    },
  };
}
