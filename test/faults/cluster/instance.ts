/**
 * One instance of the service: a process with a link of its own to Postgres, to NATS, and before it for its clients, and with
 * a clock of its own. It is killed and started again on the same port, so clients find it where it was.
 */
import { writeFileSync } from "node:fs";
import { freePort } from "../../../db/embedded/free-port.ts";
import { adminKey } from "../../support/server.ts";
import { type SpawnedServer, spawnServer } from "../../support/spawned-server.ts";
import type { Patch } from "./broken-build.ts";
import { addNoise, type Noise } from "./bus-noise.ts";
import { type Link, openLink } from "./link.ts";

export interface InstanceOptions {
  readonly name: string;
  /** Past all links. */
  readonly databaseUrl: string;
  /** Absent: every instance for itself, which makes the tail check all there is. */
  readonly natsPort: number | undefined;
  readonly noise: Noise;
  /** A file for its clock. */
  readonly clockFile: string;
  readonly patches: readonly Patch[];
  /** How long the first start may take, ms. Default: a minute. */
  readonly patienceMs?: number | undefined;
}

/** How wrong its clock is: by so much, and by so much more with each ms. */
export interface Skew {
  readonly offsetMs: number;
  readonly drift: number;
}

const preload = (name: string) => `--import=${new URL(`./preload/${name}.ts`, import.meta.url).href}`;

export class Instance {
  readonly name: string;
  readonly clients: Link;
  readonly database: Link;
  readonly bus: Link | undefined;
  readonly noise: Noise;
  readonly #env: Readonly<Record<string, string>>;
  readonly #clockFile: string;
  /** What it said when it ended by itself, each time. */
  readonly crashes: string[] = [];
  #server: SpawnedServer | undefined;

  private constructor(
    { name, noise, clockFile }: InstanceOptions,
    env: Readonly<Record<string, string>>,
    links: { clients: Link; database: Link; bus: Link | undefined },
  ) {
    this.name = name;
    this.noise = noise;
    this.#clockFile = clockFile;
    this.#env = env;
    this.clients = links.clients;
    this.database = links.database;
    this.bus = links.bus;
  }

  static async start(options: InstanceOptions): Promise<Instance> {
    const { databaseUrl, natsPort, noise, clockFile, patches } = options;
    const port = await freePort();
    const url = new URL(databaseUrl);
    const links = {
      clients: await openLink("127.0.0.1", port),
      database: await openLink(url.hostname, Number(url.port)),
      bus: natsPort === undefined ? undefined : await openLink("127.0.0.1", natsPort, () => addNoise(noise)),
    };
    url.port = String(links.database.port);
    const instance = new Instance(
      options,
      {
        PORT: String(port),
        DATABASE_URL: url.href,
        ...(links.bus === undefined ? {} : { NATS_URL: `nats://127.0.0.1:${links.bus.port}` }),
        TRIBUTARY_ADMIN_KEY: adminKey,
        LOG_LEVEL: "error",
        POOL_SIZE: "6",
        DRAIN_TIMEOUT_MS: "4000",
        TEST_CLOCK_FILE: clockFile,
        TEST_PATCHES: JSON.stringify(patches),
        NODE_OPTIONS: [
          preload("clock-skew"),
          ...(patches.length > 0 ? [preload("patched-sources")] : []),
        ].join(" "),
      },
      links,
    );
    instance.setClock({ offsetMs: 0, drift: 0 });
    await instance.start(options.patienceMs);
    return instance;
  }

  /** Where its clients find it. */
  get url(): string {
    return `http://127.0.0.1:${this.clients.port}`;
  }

  /** Past its link. */
  get directUrl(): string {
    return `http://127.0.0.1:${this.#env["PORT"]}`;
  }

  /** The end of its log. */
  get errors(): string {
    return this.#server?.errors() ?? "";
  }

  /** Tries until it is up: while the database is away a start fails. */
  async start(patienceMs = 60_000): Promise<void> {
    const deadline = Date.now() + patienceMs;
    for (;;) {
      try {
        this.#watch(await spawnServer(this.#env));
        return;
      } catch (error) {
        if (Date.now() > deadline) throw error;
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    }
  }

  /** Resolves when it is gone. */
  async stop(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    await server?.kill(signal);
  }

  /** One that ends by itself is started again, and that is noted. */
  #watch(server: SpawnedServer): void {
    this.#server = server;
    void server.gone.then(() => {
      if (this.#server !== server) return;
      this.crashes.push(`instance ${this.name} ended by itself: ${server.errors()}`);
      this.#server = undefined;
      this.start().catch((error: Error) => this.crashes.push(error.message));
    });
  }

  pause(): void {
    this.#server?.signal("SIGSTOP");
  }

  wake(): void {
    this.#server?.signal("SIGCONT");
  }

  setClock(skew: Skew): void {
    writeFileSync(this.#clockFile, JSON.stringify(skew));
  }

  /** What `/readyz` says, as "200 ready". */
  async readiness(): Promise<string> {
    try {
      const answer = await fetch(`${this.directUrl}/readyz`, { signal: AbortSignal.timeout(2000) });
      return `${answer.status} ${await answer.text()}`;
    } catch (error) {
      return String((error as Error).cause ?? error);
    }
  }

  async close(): Promise<void> {
    this.wake();
    await this.stop("SIGKILL");
    await Promise.all([this.clients, this.database, this.bus].map((link) => link?.close()));
  }
}
