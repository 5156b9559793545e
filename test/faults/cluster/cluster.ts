/**
 * The world of the suite: a Postgres of its own, a real nats-server, and instances as processes, all of them to be broken;
 * and two tenants with clients at each instance.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { migrate } from "../../../db/migrate.ts";
import { startNats, type TestNats } from "../../support/nats.ts";
import type { Random } from "../../support/random.ts";
import { adminKey, type Clients, createClients, createTenant } from "../../support/server.ts";
import { until } from "../../support/until.ts";
import type { Patch } from "./broken-build.ts";
import { quiet } from "./bus-noise.ts";
import { Instance } from "./instance.ts";
import { RestartablePostgres } from "./postgres.ts";

export interface ClusterOptions {
  readonly random: Random;
  readonly instances?: number;
  /** Default: with NATS. */
  readonly bus?: "nats" | "none";
  readonly patches?: readonly Patch[];
}

export class Cluster {
  readonly postgres: RestartablePostgres;
  readonly nats: TestNats | undefined;
  readonly instances: readonly Instance[];
  readonly tenants = ["acme", "globex"] as const;
  /** Past all links. Ends of its connections are expected. */
  readonly pool: pg.Pool;
  readonly #folder: string;
  readonly #keys = new Map<string, string>();
  readonly #clients = new Map<string, Clients>();

  private constructor(
    folder: string,
    postgres: RestartablePostgres,
    nats: TestNats | undefined,
    instances: readonly Instance[],
    pool: pg.Pool,
  ) {
    this.#folder = folder;
    this.postgres = postgres;
    this.nats = nats;
    this.instances = instances;
    this.pool = pool;
  }

  static async open({ random, instances = 3, bus = "nats", patches = [] }: ClusterOptions): Promise<Cluster> {
    const folder = await mkdtemp(join(tmpdir(), "tributary-clocks-"));
    const [postgres, nats] = await Promise.all([
      RestartablePostgres.start(),
      bus === "nats" ? startNats() : undefined,
    ]);
    await migrate(postgres.url);
    const pool = new pg.Pool({ connectionString: postgres.url, max: 4, connectionTimeoutMillis: 5000 });
    pool.on("error", () => {});
    const started = await Promise.all(
      Array.from({ length: instances }, (_, i) =>
        Instance.start({
          name: "ABC"[i] ?? String(i),
          databaseUrl: postgres.url,
          natsPort: nats?.port,
          noise: quiet(random),
          clockFile: join(folder, `${i}.json`),
          patches,
        }),
      ),
    );
    const cluster = new Cluster(folder, postgres, nats, started, pool);
    const admin = createClients((started[0] as Instance).directUrl, adminKey);
    for (const slug of cluster.tenants) cluster.#keys.set(slug, (await createTenant(admin, slug)).key);
    return cluster;
  }

  keyOf(tenant: string): string {
    return this.#keys.get(tenant) ?? "";
  }

  /** Clients of a tenant at an instance; those with the same purpose share a connection. */
  clients(instance: Instance, tenant: string, purpose = ""): Clients {
    const name = `${instance.name} ${tenant} ${purpose}`;
    const known = this.#clients.get(name) ?? createClients(instance.url, this.keyOf(tenant));
    this.#clients.set(name, known);
    return known;
  }

  /** Everything is as it should be: no fault is left. */
  async heal(): Promise<void> {
    this.nats?.resume();
    for (const instance of this.instances) {
      instance.wake();
      Object.assign(instance.noise, { level: 0, deaf: false });
      for (const link of [instance.clients, instance.database, instance.bus]) link?.restore();
    }
    for (const instance of this.instances) {
      await until(async () => {
        const state = await instance.readiness();
        if (!state.startsWith("200"))
          throw new Error(`instance ${instance.name} does not become ready: ${state}\n${instance.errors}`);
      }, 30_000);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.instances.map((instance) => instance.close()));
    await this.pool.end();
    this.nats?.resume();
    await this.nats?.stop();
    await this.postgres.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
