/** docs/operations/backup.md, its commands as they stand: back to an older state, and what everybody sees then. */
import { execFile } from "node:child_process";
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { expect, test } from "vitest";
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import { codeOf, errorOf } from "../api/codes.ts";
import { type Clients, createClients } from "../support/server.ts";
import { spawnServer } from "../support/spawned-server.ts";
import { blocksIn } from "./pages.ts";

const page = "docs/operations/backup.md";
const [, , copy = "", restore = "", address = "", ...rest] = blocksIn(page, "sh");
const [raiseEpochs = "", ...otherSql] = blocksIn(page, "sql");

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

test("after a restore of an older data folder, positions, producers and keys are as the page says", {
  timeout: 120_000,
}, async () => {
  expect([...rest, ...otherSql]).toEqual([]);
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
    expect((await client.query(raiseEpochs)).rowCount).toBe(1);
    await client.end();
    expect((await errorOf(read(5n, epoch))).message).toMatch(/\[aborted\].*restored/);
    expect(await codeOf(read(5n)), "without an epoch nobody is told").toBe("OK");
    const path = `/api/tenants/dev/stream/workflows/${workflowId}?after_offset=5&expected_epoch=${epoch}`;
    const sse = await fetch(server?.url + path, { headers: { authorization: `Bearer ${dev.key}` } });
    expect(sse.status).toBe(409);

    expect(await publish(dev, workflowId, [1, 2, 3, 4])).toMatchObject({ accepted: 2n, duplicates: 2n });
    const url2 = server?.url ?? "";
    expect(await codeOf(createClients(url2, old.key).workflows.listWorkflows({}))).toBe("OK");
    expect(await codeOf(createClients(url2, young.key).workflows.listWorkflows({}))).toBe("Unauthenticated");
  } finally {
    await stop();
    await rm(folder, { recursive: true, force: true });
  }
});
