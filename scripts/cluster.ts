/**
 * `npm run cluster`: three instances on this machine, on one Postgres and one NATS of their own, to try things out on.
 * Ctrl-C drains all three and throws the data away; nothing stays behind, also when this process is killed. An instance
 * that ends by itself, or is killed, is told of and started again on its port.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { nodeFlags } from "../cli/node-flags.ts";
import { startTestCluster } from "../test/support/cluster.ts";
import { type KeptProcess, spawnKept } from "../test/support/kept-process.ts";
import { natsServer, startNats } from "../test/support/nats.ts";

const main = fileURLToPath(new URL("../cli/main.ts", import.meta.url));
const count = 3;
/** Tries to start an instance again, and the wait before each, ms. */
const restarts = { most: 5, afterMs: 1000 };

const { port: firstPort } = parseArgs({ options: { port: { type: "string", default: "8081" } } }).values;
const devKey = `trib_dev_${randomBytes(12).toString("base64url")}`;

class Instance {
  readonly #name: string;
  readonly #env: NodeJS.ProcessEnv;
  #process: KeptProcess | undefined;
  #stopping = false;
  url = "";

  constructor(number: number, env: NodeJS.ProcessEnv) {
    this.#name = `instance ${number}`;
    this.#env = env;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Resolves when it is ready; afterwards it is looked after. */
  async start(port: string): Promise<void> {
    const lines: string[] = [];
    const ready = Promise.withResolvers<void>();
    const env = { ...this.#env, PORT: port };
    const child = await spawnKept([process.execPath, ...nodeFlags, main, "serve"], env, (line) => {
      const url = /^Tributary is ready: (\S+)/.exec(line)?.[1];
      if (url === undefined) {
        if (this.url !== "" && line.startsWith("{")) console.error(`${this.#name}: ${line}`);
        lines.push(line);
        return;
      }
      this.url = url;
      ready.resolve();
    });
    this.#process = child;
    void child.exited.then((code) => {
      const why = code > 128 ? `by signal ${code - 128}` : `with code ${code}`;
      ready.reject(new Error(`${this.#name} ended ${why}:\n${lines.slice(-20).join("\n")}`));
    });
    await ready.promise;
    void this.#lookAfter(child);
  }

  async #lookAfter(child: KeptProcess): Promise<void> {
    const code = await child.exited;
    if (this.#stopping) return;
    const why = code > 128 ? `was killed by signal ${code - 128}` : `ended with code ${code}`;
    console.log(`${this.#name} (process ${child.pid}) ${why}; it is started again`);
    for (let attempt = 1; !this.#stopping && attempt <= restarts.most; attempt++) {
      await new Promise((resolve) => setTimeout(resolve, restarts.afterMs));
      try {
        if (this.#stopping) return;
        await this.start(new URL(this.url).port);
        return console.log(`${this.#name} is back at ${this.url} (process ${this.pid})`);
      } catch (error) {
        console.log((error as Error).message);
      }
    }
    if (!this.#stopping) console.log(`${this.#name} does not start any more; the others go on`);
  }

  /** Drains it. Did it end well? */
  async stop(hard: AbortSignal): Promise<boolean> {
    this.#stopping = true;
    const child = this.#process;
    if (child === undefined) return true;
    child.signal("SIGTERM");
    const onHard = () => void child.kill();
    hard.addEventListener("abort", onHard, { once: true });
    const code = await child.exited;
    hard.removeEventListener("abort", onHard);
    return code === 0;
  }
}

function describe(instances: readonly Instance[], natsPid: number): string {
  const [one, two, three] = instances.map(({ url }) => url);
  const id = randomUUID();
  return `
Three instances on one Postgres and one NATS:
${instances.map(({ url, pid }) => `  ${url} (process ${pid})`).join("\n")}

Write at one and follow at another. In a second terminal:
  export TRIBUTARY_API_KEY=${devKey}
  TRIBUTARY_URL=${one} npm run -s tributary -- workflow create "on three instances" --id ${id}
  TRIBUTARY_URL=${two} npm run -s tributary -- tail ${id}
In a third one:
  export TRIBUTARY_API_KEY=${devKey}
  TRIBUTARY_URL=${three} npm run -s tributary -- publish ${id} task-1 "Hello from another instance"

Make it worse:
  kill -9 ${instances[1]?.pid}      # an instance: it is started again, the reader goes on
  kill -STOP ${natsPid}    # NATS falls silent: all goes on, slower; kill -CONT ${natsPid} brings it back

Ctrl-C drains all three and throws the data away.`;
}

async function run(): Promise<number> {
  if (natsServer.missing !== undefined) {
    console.error(
      "There is no nats-server on this machine. On Debian: apt-get install nats-server (npm run setup:tests does it); on macOS: brew install nats-server; others: https://docs.nats.io/running-a-nats-service/introduction/installation",
    );
    return 1;
  }
  const stop = new AbortController();
  const hard = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.on(signal, () => (stop.signal.aborted ? hard : stop).abort());
  const closers: (() => Promise<unknown>)[] = [];
  let well = true;
  try {
    console.log("Starting Postgres, NATS and three instances …");
    const postgres = await startTestCluster();
    closers.push(() => postgres.stop());
    const nats = await startNats();
    closers.push(() => nats.stop());
    const { PATH, HOME } = process.env;
    const env = {
      PATH,
      HOME,
      DATABASE_URL: postgres.url,
      NATS_URL: nats.url,
      TRIBUTARY_DEV_KEY: devKey,
      LOG_LEVEL: "warn",
    };
    const instances = Array.from({ length: count }, (_, i) => new Instance(i + 1, env));
    closers.push(async () => {
      const ends = await Promise.all(instances.map((instance) => instance.stop(hard.signal)));
      well = ends.every(Boolean);
    });
    const first = Number(firstPort);
    await Promise.all(instances.map((instance, i) => instance.start(String(first === 0 ? 0 : first + i))));
    if (!stop.signal.aborted) {
      console.log(describe(instances, nats.pid));
      // Nothing else keeps this process alive for sure.
      const alive = setInterval(() => {}, 60_000);
      if (!stop.signal.aborted) await once(stop.signal, "abort");
      clearInterval(alive);
    }
    console.log("\nStopping …");
  } finally {
    for (const close of closers.toReversed()) await close();
  }
  return well ? 0 : 1;
}

try {
  process.exitCode = await run();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
