/** The connection to Postgres over TLS, as docs/operations/database-roles.md says. */
import { chmod, chown, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { generate } from "selfsigned";
import { afterAll, beforeAll, expect, test } from "vitest";
import { newWorkflow } from "../api/trees.ts";
import { createTestDatabase, startTestCluster, type TestCluster } from "../support/cluster.ts";
import { startInstance, stopInstance } from "../support/instances.ts";
import { adminKey, createClients, createTenant, disconnectClients } from "../support/server.ts";

let cluster: TestCluster;
let folder: string;
let url: URL;

beforeAll(async () => {
  cluster = await startTestCluster();
  const client = new pg.Client({ connectionString: cluster.url });
  await client.connect();
  const { rows } = await client.query("select current_setting('data_directory') as data");
  folder = await mkdtemp(join(tmpdir(), "tributary-test-tls-"));
  await chmod(folder, 0o711);
  const pem = await generate([{ name: "commonName", value: "localhost" }], {
    keyType: "ec",
    algorithm: "sha256",
    extensions: [{ name: "subjectAltName", altNames: [{ type: 2, value: "localhost" }] }],
  });
  const { uid, gid } = await stat(rows[0].data);
  for (const [name, text] of [
    ["ca.pem", pem.cert],
    ["server.pem", pem.cert],
    ["server.key", pem.private],
  ] as const) {
    await writeFile(join(folder, name), text, { mode: name.endsWith("key") ? 0o600 : 0o644 });
    if (process.getuid?.() === 0) await chown(join(folder, name), uid, gid);
  }
  await client.query(`alter system set ssl_cert_file = '${join(folder, "server.pem")}'`);
  await client.query(`alter system set ssl_key_file = '${join(folder, "server.key")}'`);
  await client.query("alter system set ssl = on");
  await client.query("select pg_reload_conf()");
  await client.end();
  url = new URL((await createTestDatabase(cluster.url)).url);
  url.hostname = "localhost";
}, 60_000);
afterAll(async () => {
  await cluster.stop();
  await rm(folder, { recursive: true });
});

const withMode = (query: string) => `${url.href}?${query}`;

test("with verify-full and its authority all connections of a server are encrypted", async () => {
  const instance = await startInstance(withMode(`sslmode=verify-full&sslrootcert=${join(folder, "ca.pem")}`));
  const client = new pg.Client({ connectionString: url.href });
  await client.connect();
  try {
    const acme = await createTenant(createClients(instance.url, adminKey), "acme");
    const workflowId = await newWorkflow(acme);
    // Rows in binary come by a way of their own.
    expect((await acme.streams.readEvents({ workflowId })).events).toMatchObject([
      { workflowId, offset: 1n },
    ]);
    const { rows } = await client.query(
      `select bool_and(s.ssl) as all, count(*)::int as n, min(s.version) as oldest
         from pg_stat_ssl s join pg_stat_activity a using (pid)
        where a.application_name = 'tributary' and a.datname = current_database()`,
    );
    expect(rows[0]).toMatchObject({ all: true, oldest: "TLSv1.3" });
    expect(rows[0].n).toBeGreaterThan(1);
  } finally {
    await client.end();
    disconnectClients(instance.url);
    await stopInstance(instance);
  }
});

test("a certificate of an unknown authority, or of another host, stops the start", async () => {
  await expect(startInstance(withMode("sslmode=verify-full"))).rejects.toThrow(/cannot connect.*certificate/);
  const elsewhere = new URL(withMode(`sslmode=verify-full&sslrootcert=${join(folder, "ca.pem")}`));
  elsewhere.hostname = "127.0.0.1";
  await expect(startInstance(elsewhere.href)).rejects.toThrow(/cannot connect/);
});
