/** NATS by TLS: an authority that Node is told of, and one that it does not know. In processes: Node reads it at its start. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generate } from "selfsigned";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWith } from "../support/describe-with.ts";
import { natsServer, startNats, type TestNats } from "../support/nats.ts";
import { adminKey, useServer } from "../support/server.ts";
import { spawnServer } from "../support/spawned-server.ts";

/** Its database is shared. */
const server = useServer();

describeWith(natsServer, "a NATS with TLS", () => {
  let folder: string;
  let nats: TestNats;
  const file = (name: string) => join(folder, name);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tributary-nats-tls-"));
    const altNames = [{ type: 2 as const, value: "localhost" }];
    const pem = await generate([{ name: "commonName", value: "localhost" }], {
      keyType: "ec",
      algorithm: "sha256",
      extensions: [{ name: "subjectAltName", altNames }],
    });
    await writeFile(file("cert.pem"), pem.cert);
    await writeFile(file("key.pem"), pem.private);
    nats = await startNats(`tls { cert_file: "${file("cert.pem")}", key_file: "${file("key.pem")}" }`);
  });
  afterAll(async () => {
    await nats.stop();
    await rm(folder, { recursive: true });
  });

  async function readyWith(scheme: string, env: Readonly<Record<string, string>>): Promise<string> {
    const instance = await spawnServer({
      DATABASE_URL: server.database.url,
      TRIBUTARY_ADMIN_KEY: adminKey,
      NATS_URL: `${scheme}://localhost:${nats.port}`,
      LOG_LEVEL: "silent",
      ...env,
    });
    try {
      const answer = await fetch(`${instance.url}/readyz`);
      return ((await answer.json()) as { status: string }).status;
    } finally {
      await instance.kill("SIGTERM");
    }
  }

  test.each(["tls", "nats"])("is used by %s:// when its authority is known", async (scheme) => {
    expect(await readyWith(scheme, { NODE_EXTRA_CA_CERTS: file("cert.pem") })).toBe("ready");
  });

  test.each(["tls", "nats"])("is not trusted by %s:// when its authority is not known", async (scheme) => {
    expect(await readyWith(scheme, {})).toBe("degraded: bus");
  });
});
