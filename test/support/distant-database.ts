/** A server for a test file whose way to Postgres can be cut. Its teardown is that of `useServer`. */
import pg from "pg";
import { afterAll, beforeAll, expect, inject } from "vitest";
import { findOrphans } from "../../db/statements/find-orphans.ts";
import { readConfig } from "../../server/config.ts";
import { type RunningServer, startServer } from "../../server/main.ts";
import { createTestDatabase } from "./cluster.ts";
import { template } from "./global-setup.ts";
import { adminKey, type Clients, createClients, createTenant, disconnectClients } from "./server.ts";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";
import { until } from "./until.ts";

/** A connection that is kept for later would hold up the server's stop. */
const headers = { connection: "close" };

export interface DistantDatabase {
  readonly proxy: TcpProxy;
  readonly server: RunningServer;
  /** Past the proxy. */
  readonly pool: pg.Pool;
  readonly acme: Clients;
  /** Cuts the way to the database for as long as something runs. */
  away<T>(run: () => Promise<T>): Promise<T>;
  /** Waits until the server reaches the database. */
  ready(): Promise<void>;
}

export function useDistantDatabase(): DistantDatabase {
  let started: Omit<DistantDatabase, "away" | "ready">;

  beforeAll(async () => {
    const database = await createTestDatabase(inject("clusterUrl"), { template });
    const url = new URL(database.url);
    const proxy = await startTcpProxy(url.hostname, Number(url.port));
    url.port = String(proxy.port);
    const server = await startServer(
      readConfig({ DATABASE_URL: url.href, PORT: "0", TRIBUTARY_ADMIN_KEY: adminKey, LOG_LEVEL: "silent" }),
    );
    const acme = await createTenant(createClients(server.url, adminKey), "acme");
    const pool = new pg.Pool({ connectionString: database.url });
    started = { proxy, server, pool, acme };
  });

  afterAll(async () => {
    if (started === undefined) return;
    const { proxy, server, pool } = started;
    await until(() => expect(server.gauges()).toEqual({ openCalls: 0, liveStreams: 0, waitingCommands: 0 }));
    disconnectClients(server.url);
    expect(await findOrphans(pool)).toEqual([]);
    await server.close();
    await proxy.close();
    await pool.end();
  });

  return {
    get proxy() {
      return started.proxy;
    },
    get server() {
      return started.server;
    },
    get pool() {
      return started.pool;
    },
    get acme() {
      return started.acme;
    },
    async away(run) {
      started.proxy.cut();
      try {
        return await run();
      } finally {
        started.proxy.restore();
      }
    },
    ready: () =>
      until(
        async () => expect((await fetch(`${started.server.url}/readyz`, { headers })).status).toBe(200),
        20_000,
      ),
  };
}
