/**
 * The suite can fail: small scenes that the service passes, and that each broken build fails. A build is broken as it is
 * loaded, or in the database of this test; there are no hooks for it in the product.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../support/cluster.ts";
import { describeWith } from "../../support/describe-with.ts";
import { template } from "../../support/global-setup.ts";
import { natsServer, startNats, type TestNats } from "../../support/nats.ts";
import { Random } from "../../support/random.ts";
import { adminKey, createClients, createTenant } from "../../support/server.ts";
import { brokenBuilds, type Patch, removeFence } from "./broken-build.ts";
import { quiet } from "./bus-noise.ts";
import { Instance } from "./instance.ts";
import { ackBeforeDeath, deafReader, holeInNotices, pausedWriter, type SceneParts } from "./scenes.ts";

let database: TestDatabase;
let pool: pg.Pool;
let nats: TestNats;
let folder: string;
let parts: SceneParts;
const instances: Instance[] = [];

describeWith(natsServer, "with NATS", () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tributary-clocks-"));
    database = await createTestDatabase(inject("clusterUrl"), { template });
    pool = new pg.Pool({ connectionString: database.url, max: 4 });
    nats = await startNats();
    const [sound, other] = await Promise.all([start([]), start([])]);
    const { key } = await createTenant(createClients(sound.url, adminKey), "acme");
    parts = {
      sound,
      other,
      pool,
      databaseUrl: database.url,
      clients: (instance) => createClients(instance.url, key),
    };
  });

  afterAll(async () => {
    await Promise.all(instances.map((instance) => instance.close()));
    await nats.stop();
    await pool.end();
    await database.drop();
    await rm(folder, { recursive: true, force: true });
  });

  describe.each([
    ["a reader whose instance hears no notice", deafReader, "no tail check"],
    ["a death while entries wait", ackBeforeDeath, "acks before the commit"],
    ["a notice that is lost between two others", holeInNotices, "entries taken from a notice over a hole"],
  ] as const)("%s", (_, play, name) => {
    test("costs nothing but time", async () => {
      expect(await play(parts, parts.other, 10_000)).toEqual([]);
    });

    test(`shows a build with ${name}`, async () => {
      expect(await play(parts, await start(brokenBuilds[name]), 3000)).not.toEqual([]);
    });
  });

  describe("a writer that is paused while its session moves, and wakes", () => {
    test("stores nothing that the newer one does not know", async () => {
      expect(await pausedWriter(parts, parts.other)).toEqual([]);
    });

    test("shows an append that does not look at epochs", async () => {
      await removeFence(pool);
      expect(await pausedWriter(parts, parts.other)).not.toEqual([]);
    });
  });

  test("a line to break that is not there, or there twice, stops the start", async () => {
    const missing: Patch = { file: "server/core/hub.ts", line: "not a line of it", with: "" };
    await expect(start([missing], 0)).rejects.toThrow("must be there once, found 0 times");
  });
});

async function start(patches: readonly Patch[], patienceMs?: number): Promise<Instance> {
  const instance = await Instance.start({
    name: String(instances.length),
    databaseUrl: database.url,
    natsPort: nats.port,
    noise: quiet(new Random(1)),
    clockFile: join(folder, `${instances.length}.json`),
    patches,
    patienceMs,
  });
  instances.push(instance);
  return instance;
}
