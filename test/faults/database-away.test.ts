/** A database that goes away and comes back while readers and writers are attached. */
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { useDistantDatabase } from "../support/distant-database.ts";
import { until } from "../support/until.ts";

const service = useDistantDatabase();

test("readers and writers that are attached go on when it is back, and nothing is lost", async () => {
  const { workflow } = await service.acme.workflows.createWorkflow({ name: "patient" });
  const workflowId = workflow?.workflowId ?? "";
  const seen: string[] = [];
  let last = "";
  const reading = (async () => {
    for await (const { message } of service.acme.streams.streamWorkflow({ workflowId })) {
      const inner = message?.message;
      if (inner?.case === "events") seen.push(...inner.value.events.map((event) => String(event.sequence)));
      last = inner?.case ?? "";
    }
  })();
  const send = (sequence: number, waitForDurable: boolean) =>
    service.acme.tasks.streamTaskData({
      workflowExecutionId: workflowId,
      taskExecutionId: "t",
      producerId: "p",
      sequence: BigInt(sequence),
      type: EventType.TOKEN,
      waitForDurable,
    });
  await send(1, true);
  await until(() => expect(seen).toEqual(["0", "1"]));

  service.proxy.cut();
  await until(async () => expect((await fetch(`${service.server.url}/readyz`)).status).toBe(503));
  expect((await fetch(`${service.server.url}/healthz`)).status).toBe(200);
  // The task is known to be open, so this is taken without the database; the next two wait for it.
  await send(2, false);
  const waiting = [send(3, true), send(4, true)];
  await expect(service.acme.workflows.getWorkflow({ workflowId })).rejects.toMatchObject({
    code: Code.Unavailable,
  });
  const sse = await fetch(`${service.server.url}/api/tenants/acme/stream/workflows/${workflowId}`, {
    headers: { authorization: `Bearer ${service.acme.key}` },
  });
  expect(sse.status).toBe(503);

  service.proxy.restore();
  await Promise.all(waiting);
  await service.ready();
  await service.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
  await reading;
  expect(seen).toEqual(["0", "1", "2", "3", "4", "0"]);
  expect(last).toBe("ended");
});

test("a caller that waits for the commit is told after a while that the database is away", {
  timeout: 60_000,
}, async () => {
  const { workflow } = await service.acme.workflows.createWorkflow({ name: "impatient" });
  service.proxy.cut();
  try {
    await service.acme.tasks.streamTaskData({
      workflowExecutionId: workflow?.workflowId ?? "",
      taskExecutionId: "t",
      type: EventType.TOKEN,
      waitForDurable: true,
    });
    expect.unreachable();
  } catch (error) {
    expect(ConnectError.from(error).code).toBe(Code.Unavailable);
    expect(ConnectError.from(error).rawMessage).toContain("database");
  } finally {
    service.proxy.restore();
  }
  await service.ready();
});
