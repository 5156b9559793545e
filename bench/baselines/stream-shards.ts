/**
 * What the bare SQL contenders share: connections that each write their own streams, as the appender's do, groups of one
 * size, and a closed loop of commits.
 */
import { randomUUID } from "node:crypto";
import pg from "pg";
import type { Published } from "../load/publisher.ts";
import { nowUs } from "../measure/clock.ts";
import { Latencies } from "../measure/latencies.ts";

export interface BareOptions {
  readonly url: string;
  readonly connections: number;
  readonly streams: number;
  /** Events of one commit, spread over the connection's streams. */
  readonly group: number;
  readonly payloadBytes: number;
}

export interface Shard {
  readonly client: pg.Client;
  readonly streams: readonly string[];
}

/** Never more connections than streams: two that lock one stream only wait for each other. */
export async function openShards({ url, connections, streams }: BareOptions): Promise<Shard[]> {
  const ids = Array.from({ length: streams }, () => randomUUID() as string);
  const count = Math.min(connections, streams);
  return Promise.all(
    Array.from({ length: count }, async (_, shard) => {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      return { client, streams: ids.filter((_, i) => i % count === shard) };
    }),
  );
}

/** Each connection commits one group after the other until the time is over. */
export async function commitLoop(
  commits: readonly (() => Promise<unknown>)[],
  group: number,
  seconds: number,
): Promise<Published> {
  const ack = new Latencies();
  const deadline = nowUs() + seconds * 1e6;
  let messages = 0;
  await Promise.all(
    commits.map(async (commit) => {
      for (let began = nowUs(); began < deadline; began = nowUs()) {
        await commit();
        const now = nowUs();
        if (now > deadline) return;
        ack.record(now - began);
        messages += 1;
      }
    }),
  );
  return { messages, events: messages * group, seconds, ack: ack.summary(), late: new Latencies().summary() };
}
