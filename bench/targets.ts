/** The servers that take the same load: how each is started, and what a client needs to know of it. */
import { randomUUID } from "node:crypto";
import { createTributaryClient, type TributaryClient } from "../client/index.ts";
import { Role } from "../gen/tributary/v1/admin_service_pb.ts";
import type { History } from "./baselines/ready-events.ts";
import type { Bench, Measurable } from "./bench.ts";
import { tenant } from "./databases.ts";
import type { Address } from "./load/connections.ts";
import type { Feed } from "./load/feed.ts";
import type { Usage } from "./measure/usage.ts";
import { missingPackage } from "./needs.ts";
import type { Child } from "./processes/spawn.ts";
import type { Observed } from "./processes/tributary-server.ts";

export interface Target extends Instance {
  /** Where readers go, if not by gRPC to the same address. */
  readonly feed?: Feed | undefined;
  readonly apiKey: string;
  /** Makes so many root workflows and gives their ids. */
  workflows(count: number): Promise<string[]>;
  /** Makes so many children of a root workflow. */
  children(root: string, count: number): Promise<string[]>;
  /** The time when nobody was connected any more, by the server's own gauges, where it has some. */
  untilQuiet?(limitMs: number): Promise<number>;
  /** Makes so many memory spaces and gives their names. */
  spaces(count: number): Promise<string[]>;
  /** Instances over the same database, beside `server`. */
  readonly others: readonly Instance[];
}

export interface Instance {
  readonly server: Measurable;
  readonly address: Address;
  /** Of Tributary: drains it, ends its measuring phase, and starts another one at its address, whose phase begins. */
  replace?(): Promise<Replaced>;
}

export interface Replaced {
  readonly drainMs: number;
  /** Of the one that is gone. */
  readonly usage: Usage;
  readonly by: Instance;
}

/** All instances of a target. */
export const instancesOf = (target: Target): readonly Instance[] => [target, ...target.others];

export interface TargetOptions {
  /** For Tributary: a database that was prepared; else an empty one is made. */
  readonly databaseUrl?: string | undefined;
  /** For the others: a stored stream, in memory. */
  readonly history?: History | undefined;
  /** For Tributary: instances that tell each other by NATS. Absent: one, with the bus in memory. */
  readonly overNats?: number | undefined;
  /** For Tributary: what looks on. */
  readonly observed?: Observed | undefined;
  /** For Tributary: how long a drain may take, ms; absent: 0. */
  readonly drainMs?: number | undefined;
}

export const targets = {
  tributary: openTributary,
  "stock connect-node": (bench: Bench, options: TargetOptions) =>
    openBaseline(bench, "stock connect-node server", options),
  "raw http2": (bench: Bench, options: TargetOptions) => openBaseline(bench, "raw http2 server", options),
  "tributary, SSE": openTributarySse,
  "raw HTTP/1.1": (bench: Bench) => openFeedServer(bench, "raw http1 server"),
  "better-sse": (bench: Bench) => openFeedServer(bench, "better-sse server"),
  "socket.io": (bench: Bench) => openFeedServer(bench, "socket.io server"),
} as const;

export type TargetName = keyof typeof targets;

export const openTarget = (bench: Bench, name: TargetName, options: TargetOptions = {}): Promise<Target> =>
  targets[name](bench, options);

/** Why a target cannot be had here; undefined: it can. */
export const missingTarget = (name: TargetName): string | undefined =>
  name === "better-sse" || name === "socket.io" ? missingPackage(name) : undefined;

/** Workflows that are made at once. */
const creating = 32;

async function openTributary(bench: Bench, options: TargetOptions): Promise<Target> {
  const adminKey = randomUUID();
  const databaseUrl = options.databaseUrl ?? (await bench.database());
  const nats = options.overNats === undefined ? undefined : await bench.spawn("nats server", undefined);
  const natsUrl = await nats?.call("url");
  const { observed, drainMs } = options;
  const start = (port?: number) =>
    bench.spawn("tributary server", { databaseUrl, adminKey, natsUrl, observed, drainMs, port });
  const server = await start();
  const url = await server.call("url");
  const admin = createTributaryClient({ baseUrl: url, credential: adminKey });
  const roles = [Role.READ, Role.PUBLISH, Role.MANAGE];
  const { key } = await admin.admin.createApiKey({ tenantSlug: tenant, roles });
  admin.close();
  const headers = { authorization: `Bearer ${key}` };
  const instance = (at: Child<"tributary server">, address: Address): Instance => ({
    server: at,
    address,
    async replace() {
      const began = performance.now();
      await at.call("drain");
      const drainMs = performance.now() - began;
      const { usage } = await at.own("end");
      await at.stop();
      const next = await start(Number(new URL(address.url).port));
      await next.own("begin", false);
      return { drainMs, usage, by: instance(next, address) };
    },
  });
  const others: Instance[] = [];
  for (let i = 1; i < (options.overNats ?? 1); i += 1) {
    const other = await start();
    others.push(instance(other, { url: await other.call("url"), headers }));
  }
  return {
    ...instance(server, { url, headers }),
    others,
    apiKey: key,
    workflows: (count) =>
      each(
        Array.from({ length: count }, () => randomUUID() as string),
        ({ workflows }, workflowId) => workflows.createWorkflow({ workflowId, name: "bench" }),
      ),
    children: (parentWorkflowId, count) =>
      each(
        Array.from({ length: count }, () => randomUUID() as string),
        ({ workflows }, workflowId) =>
          workflows.createWorkflow({ workflowId, parentWorkflowId, name: "bench" }),
      ),
    untilQuiet: (limitMs) => server.call("untilQuiet", limitMs),
    spaces: (count) => each(spaceNames(count), ({ memory }, space) => memory.createMemorySpace({ space })),
  };

  async function each(
    names: string[],
    make: (client: TributaryClient, name: string) => Promise<unknown>,
  ): Promise<string[]> {
    const client = createTributaryClient({ baseUrl: url, credential: key });
    try {
      for (let i = 0; i < names.length; i += creating) {
        await Promise.all(names.slice(i, i + creating).map((name) => make(client, name)));
      }
    } finally {
      client.close();
    }
    return names;
  }
}

async function openTributarySse(bench: Bench, options: TargetOptions): Promise<Target> {
  const target = await openTributary(bench, options);
  const { url, headers } = target.address;
  const path = `/api/tenants/${tenant}/stream/workflows/{workflow}/consolidated?latest=true`;
  return { ...target, feed: { kind: "sse", url, headers, path } };
}

const spaceNames = (count: number) => Array.from({ length: count }, (_, n) => `bench-${n}`);

async function openBaseline(
  bench: Bench,
  role: "stock connect-node server" | "raw http2 server",
  { history }: TargetOptions,
): Promise<Target> {
  const server = await bench.spawn(role, { history });
  return { ...baseline, server, address: { url: await server.call("url"), headers: {} } };
}

/** Written to as the other baselines, read over HTTP/1.1. All readers get all that is published. */
async function openFeedServer(
  bench: Bench,
  role: "raw http1 server" | "better-sse server" | "socket.io server",
): Promise<Target> {
  const server = await bench.spawn(role, undefined);
  const of =
    role === "socket.io server"
      ? ({ kind: "socket.io", path: "/socket.io/?EIO=4&transport=websocket" } as const)
      : ({ kind: "sse", path: "/" } as const);
  return {
    ...baseline,
    server,
    address: { url: await server.call("url"), headers: {} },
    feed: { ...of, url: await server.call("feedUrl"), headers: {} },
  };
}

/** To servers that keep nothing an id is a word. */
const baseline = {
  others: [],
  apiKey: "",
  workflows: async (count: number) => Array.from({ length: count }, () => randomUUID() as string),
  children: async (_: string, count: number) => Array.from({ length: count }, () => randomUUID() as string),
  spaces: async (count: number) => spaceNames(count),
};
