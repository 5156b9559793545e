/** Clients may compress what they send; limits hold for what it unpacks to. */
import { Code, createClient } from "@connectrpc/connect";
import { compressionBrotli, compressionGzip, createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import { TaskStreamService } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { useServer } from "../support/server.ts";

const server = useServer();

describe.each([compressionGzip, compressionBrotli])("with $name", (compression) => {
  const client = () =>
    createClient(
      TaskStreamService,
      createGrpcTransport({
        baseUrl: server.url,
        sendCompression: compression,
        compressMinBytes: 0,
        interceptors: [
          (next) => (request) => {
            request.header.set("authorization", `Bearer ${server.acme.key}`);
            return next(request);
          },
        ],
      }),
    );
  const send = async (payload: string) => {
    const { workflow } = await server.acme.workflows.createWorkflow({ name: "compressed" });
    const workflowExecutionId = workflow?.workflowId ?? "";
    const event = {
      workflowExecutionId,
      taskExecutionId: "t",
      type: EventType.TOKEN,
      payload,
      waitForDurable: true,
    };
    await client().streamTaskData(event);
    const { events } = await server.acme.streams.readEvents({ workflowId: workflowExecutionId });
    return events.at(-1)?.payload.value;
  };

  test("an event arrives as it was sent", async () => {
    const payload = "again and ".repeat(50_000);
    expect(await send(payload)).toBe(payload);
  });

  test("a small message that unpacks to more than 4 MiB is refused", async () => {
    await expect(send("0".repeat(20_000_000))).rejects.toMatchObject({ code: Code.ResourceExhausted });
  });
});
