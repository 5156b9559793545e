/** `stats`, as a real process. */
import { expect, test } from "vitest";
import { follow } from "../api/subscription.ts";
import { newWorkflow, publish, repeat, token } from "../api/trees.ts";
import { adminKey, useServer } from "../support/server.ts";
import { run } from "./command-line.ts";

const server = useServer();
const env = (key: string) => ({ env: { TRIBUTARY_URL: server.url, TRIBUTARY_API_KEY: key } });

test("shows people the server, its lanes and its busiest streams, and programs the answer as it is", async () => {
  const [busy, quiet] = [await newWorkflow(server.acme), await newWorkflow(server.acme)];
  await publish(
    server.acme,
    repeat(1999, (i) => token(busy, `${i}`)),
  );
  const readers = [busy, busy, quiet].map((workflowId) =>
    follow((call) => server.acme.streams.streamWorkflow({ workflowId }, call)),
  );
  for (const [at, reader] of readers.entries())
    await reader.until(() => expect(reader.events).toHaveLength(at < 2 ? 2000 : 1));

  const { stdout, stderr, code } = await run(["stats"], env(server.acme.key));
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(/^healthy {2}up \d.* {2}instance [0-9a-f-]{36}\n/);
  expect(stdout).toContain("now      2 streams with readers, 3 readers, 0 sessions\n");
  expect(stdout).toContain("in all   2,001 events written, 4,001 events sent to readers\n");
  expect(stdout).toMatch(
    /\nLANE +WAITING +OF +BYTES +PRESSURE\nhigh +0 +10,000 +0 +0 %\nnormal .+\nlow .+\n/,
  );
  expect(stdout).toMatch(
    new RegExp(
      `\\nROOT OR SPACE .+\\n${busy} +2 +2,000 +0 +4,000 +0 +\\d+ +0 +\\d{4}-.+\\n${quiet} +1 +1 +0 +1 +0 +1 +0 `,
    ),
  );
  const one = await run(["stats", "--streams", "1"], env(server.acme.key));
  expect(one.stdout).toContain(busy);
  expect(one.stdout).not.toContain(quiet);
  expect(one.stdout).toContain("1 more; see them with --streams.");

  const json = await run(["stats", "--json", "--tenant", "acme"], env(adminKey));
  expect(json.objects).toMatchObject([
    {
      status: "healthy",
      totalStreams: 2,
      subscribers: 3,
      eventsPublished: 2001,
      streams: [{ rootWorkflowId: busy, readers: 2, tailOffset: 2000 }, { rootWorkflowId: quiet }],
      lanes: [{ priority: "HIGH", capacity: 10_000 }, { priority: "NORMAL" }, { priority: "LOW" }],
    },
  ]);
  for (const reader of readers) await reader[Symbol.asyncDispose]();
});

test("without readers there is no table of streams; wrong usage and a foreign tenant are refused", async () => {
  const { stdout } = await run(["stats"], env(server.globex.key));
  expect(stdout).toContain("0 streams with readers, 0 readers, 0 sessions\n");
  expect(stdout).not.toContain("ROOT OR SPACE");
  const foreign = await run(["stats", "--tenant", "acme"], env(server.globex.key));
  expect(foreign.code).toBe(1);
  expect(foreign.stderr).toContain("acme is not the tenant of the credential");
  for (const streams of ["0", "1001", "x"]) {
    const wrong = await run(["stats", "--streams", streams], env(server.globex.key));
    expect([wrong.code, wrong.stderr.includes("whole number from 1 to 1000")]).toEqual([2, true]);
  }
});
