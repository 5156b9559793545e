/** Sessions whose workflow is asked to stop at another instance, while every signal is lost. */
import { expect, test } from "vitest";
import { createMemoryBus } from "../../server/bus/memory-bus.ts";
import { Newsroom } from "../../server/core/news.ts";
import { OpenCalls } from "../../server/core/open-call.ts";
import { type SessionReply, Sessions } from "../../server/core/session/sessions.ts";
import { createPgSessionStore } from "../../server/store/pg-session-store.ts";
import { create } from "../support/commands.ts";
import { CoreServer } from "../support/core-server.ts";
import { newId, useDatabase } from "../support/database.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { noQuotas } from "../support/quotas.ts";
import { until } from "../support/until.ts";

const database = useDatabase();

test("the next renewal of leases tells them, once, of requests for their workflow or one above", async () => {
  const core = new CoreServer(database.url);
  const clock = new ManualClock();
  const sessions = new Sessions({
    appender: core.appender,
    store: createPgSessionStore(core.store.pool),
    quotas: noQuotas,
    calls: new OpenCalls({ clock, random: Math.random }),
    clock,
    news: new Newsroom({ bus: createMemoryBus(), instanceId: "here" }),
    onFailure: (_, error) => {
      throw error;
    },
    onChange: () => {},
  });
  const [streamId, root, child, other] = [newId(), newId(), newId(), newId()];
  const make = (workflowId: string, parentWorkflowId?: string) =>
    core.appender.submit(create(streamId, { workflowId, parentWorkflowId }));
  for (const submission of [make(root), make(child, root), make(other, root)]) {
    if (submission.offer !== "queued") throw new Error(submission.offer);
    await submission.result;
  }
  const leave = new AbortController();
  const open = (workflowId: string, path: string[]): SessionReply[] => {
    const said: SessionReply[] = [];
    const replies = sessions.run(
      { tenant: "acme", subtrees: undefined, seesVariables: true },
      { tenant: "acme", apiKeyId: undefined, expiresMs: undefined },
      {
        sessionId: "",
        acceptedAcks: false,
        clientBufferSize: 0,
        maxBatchSize: 0,
        lane: "normal",
        target: { streamId, workflow: { workflowId, tenant: "acme", streamId, path }, space: undefined },
      },
      // It says nothing and stays.
      (async function* () {
        await new Promise((resolve) => leave.signal.addEventListener("abort", resolve));
      })(),
      leave.signal,
    );
    void (async () => {
      for await (const reply of replies) said.push(reply);
    })().catch(() => {});
    return said;
  };
  const cancels = (said: SessionReply[]) => said.filter(({ kind }) => kind === "cancel_requested");
  const ofChild = open(child, [root, child]);
  const ofOther = open(other, [root, other]);
  await until(() => expect([ofChild, ofOther].map((said) => said.length)).toEqual([1, 1]));

  const request = (workflowId: string, reason: string) =>
    database.pool.query(
      "update workflow set cancel_requested_ms = 1, cancel_reason = $2 where workflow_id = $1",
      [workflowId, reason],
    );
  await request(child, "enough");
  await sessions.keepLeases();
  const own = { kind: "cancel_requested", workflowId: child, reason: "enough" };
  await until(() => expect(cancels(ofChild)).toEqual([own]));
  await request(root, "all");
  await sessions.keepLeases();
  await sessions.keepLeases();
  const above = { kind: "cancel_requested", workflowId: root, reason: "all" };
  await until(() => expect(cancels(ofOther)).toEqual([above]));
  await until(() => expect(cancels(ofChild)).toEqual([own, above]));
  leave.abort();
  sessions.close();
  await until(() => expect(sessions.attached(undefined)).toBe(0));
  await core.close();
});
