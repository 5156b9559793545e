/** docs/operations/backup.md, its commands as they stand: back to an older state, and what everybody sees then. */
import { execFile } from "node:child_process";
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { expect, inject } from "vitest";
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import { codeOf, errorOf } from "../api/codes.ts";
import { createTestDatabase } from "../support/cluster.ts";
import { rotate } from "../support/rotating.ts";
import { adminKey, type Clients, createClients, createTenant } from "../support/server.ts";
import { spawnServer } from "../support/spawned-server.ts";
import { blocksIn } from "./pages.ts";

const some = rotate(1);

const page = "docs/operations/backup.md";
const [, , copy = "", restore = "", address = "", raiseEpochs = "", ...rest] = blocksIn(page, "sh");
/** A command of the page that is given in the clone. */
const inClone = async (command: string, env: Readonly<Record<string, string>>) =>
  (
    await promisify(execFile)("bash", ["-euo", "pipefail", "-c", command], {
      env: { ...process.env, ...env },
    })
  ).stdout;

const publish = (clients: Clients, workflowId: string, sequences: readonly number[], producerId = "worker") =>
  clients.tasks.publishTaskEvents(
    (async function* () {
      yield {
        producerId,
        events: sequences.map((sequence) => ({
          workflowId,
          taskExecutionId: "t",
          type: EventType.DATA,
          sequence: BigInt(sequence),
          payload: { case: "text" as const, value: `${producerId} ${sequence}` },
        })),
      };
    })(),
  );

some.add(
  "after a restore of an older data folder, positions, producers and keys are as the page says",
  {
    timeout: 120_000,
  },
  async () => {
    expect(rest).toEqual([]);
    const folder = await mkdtemp(join(tmpdir(), "tributary backup "));
    await chmod(folder, 0o711); // started by root, Postgres runs as another user
    const shell = async (script: string) =>
      (await promisify(execFile)("bash", ["-euo", "pipefail", "-c", script], { cwd: folder })).stdout;
    let server: Awaited<ReturnType<typeof spawnServer>> | undefined;
    const start = async () => {
      server = await spawnServer({ DATA_DIR: join(folder, ".data"), DRAIN_TIMEOUT_MS: "100" });
      return createClients(server.url, (await readFile(join(folder, ".data/dev-key"), "utf8")).trim());
    };
    const stop = () => server?.kill("SIGTERM");
    try {
      let dev = await start();
      const { workflow } = await dev.workflows.createWorkflow({ name: "kept" });
      const workflowId = workflow?.workflowId ?? "";
      expect((await publish(dev, workflowId, [1, 2])).lastOffset).toBe(3n);
      const old = await dev.admin.createApiKey({});
      await stop();
      await shell(copy);

      dev = await start();
      expect((await publish(dev, workflowId, [3, 4])).lastOffset).toBe(5n);
      await dev.admin.revokeApiKey({ apiKeyId: old.apiKeyId });
      const young = await dev.admin.createApiKey({});
      const read = (afterOffset: bigint, expectedEpoch = 0n) =>
        dev.streams.streamWorkflow({
          workflowId,
          options: { start: { case: "afterOffset", value: afterOffset }, expectedEpoch, idleTimeoutMs: 200 },
        });
      let epoch = 0n;
      for await (const { message } of read(5n)) {
        if (message?.message.case === "opened") epoch = message.message.value.epoch;
      }
      await stop();
      await shell(restore);

      dev = await start();
      expect(await codeOf(read(5n)), "a position that is not there any more").toBe("OutOfRange");
      expect((await publish(dev, workflowId, [1, 2], "other")).lastOffset).toBe(5n);
      expect(await codeOf(read(5n, epoch)), "nothing shows that offset 5 is another one now").toBe("OK");

      const url = (await shell(`${address}printf %s "$DATABASE_URL"`)).trim();
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      expect((await client.query("select count(*)::int as n from stream")).rows).toEqual([{ n: 1 }]);
      await client.end();
      await stop();
      expect(await inClone(raiseEpochs, { DATA_DIR: join(folder, ".data") })).toMatch(
        /^Raised the epochs of 1 stream/,
      );
      dev = await start();
      expect((await errorOf(read(5n, epoch))).message).toMatch(/\[aborted\].*restored/);
      expect(await codeOf(read(5n)), "without an epoch nobody is told").toBe("OK");
      const path = `/api/tenants/dev/stream/workflows/${workflowId}?after_offset=5&expected_epoch=${epoch}`;
      const sse = await fetch(server?.url + path, { headers: { authorization: `Bearer ${dev.key}` } });
      expect(sse.status).toBe(409);

      expect(await publish(dev, workflowId, [1, 2, 3, 4])).toMatchObject({ accepted: 2n, duplicates: 2n });
      const url2 = server?.url ?? "";
      expect(await codeOf(createClients(url2, old.key).workflows.listWorkflows({}))).toBe("OK");
      expect(await codeOf(createClients(url2, young.key).workflows.listWorkflows({}))).toBe(
        "Unauthenticated",
      );
    } finally {
      await stop();
      await rm(folder, { recursive: true, force: true });
    }
  },
);

some.add(
  "a server warns of a restored copy until after-restore has run, which raises the epochs, or says that nothing is lost",
  {
    timeout: 120_000,
  },
  async () => {
    const original = await createTestDatabase(inject("clusterUrl"));
    const settings = { TRIBUTARY_ADMIN_KEY: adminKey, LOG_LEVEL: "warn", DRAIN_TIMEOUT_MS: "100" };
    const first = await spawnServer({ ...settings, DATABASE_URL: original.url });
    const acme = await createTenant(createClients(first.url, adminKey), "acme");
    const { workflow } = await acme.workflows.createWorkflow({ name: "kept" });
    const workflowId = workflow?.workflowId ?? "";
    await first.kill("SIGTERM");
    const again = await spawnServer({ ...settings, DATABASE_URL: original.url });
    await again.kill("SIGTERM");
    expect(again.errors(), "the same database").not.toContain("after-restore");

    const copies = [];
    try {
      for (const [option, raised] of [
        ["", "Raised the epochs of 1 stream"],
        [" --nothing-lost", "epochs are as they were"],
      ] as const) {
        const copy = await createTestDatabase(inject("clusterUrl"), {
          template: new URL(original.url).pathname.slice(1),
        });
        copies.push(copy);
        const env = { ...settings, DATABASE_URL: copy.url };
        const epochOf = async () => {
          const client = new pg.Client({ connectionString: copy.url });
          await client.connect();
          const { rows } = await client.query(
            "select epoch from stream join workflow using (stream_id) where workflow_id = $1",
            [workflowId],
          );
          await client.end();
          return rows[0].epoch as string;
        };
        const before = await epochOf();
        for (const start of option === "" ? ["first", "second"] : ["first"]) {
          const warned = await spawnServer(env);
          await warned.kill("SIGTERM");
          expect(warned.errors(), `${start} start`).toContain("a copy of another one");
        }
        expect(await inClone(`${raiseEpochs.trim()}${option}`, env)).toContain(raised);
        expect((await epochOf()) === before).toBe(option !== "");
        const quiet = await spawnServer(env);
        await quiet.kill("SIGTERM");
        expect(quiet.errors()).not.toContain("after-restore");
      }
    } finally {
      for (const copy of copies) await copy.drop();
      await original.drop();
    }
  },
);

some.take();
