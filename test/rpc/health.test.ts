import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../gen/health/v1/health_pb.ts";
import { EventStreamService } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { WorkflowService } from "../../gen/tributary/v1/workflow_service_pb.ts";
import { healthService } from "../../server/rpc/health.ts";
import { type RunningServer, serve } from "./serve.ts";

let serving: boolean;
let server: RunningServer;
const listeners = new Set<() => void>();

function setServing(next: boolean): void {
  serving = next;
  for (const listener of listeners) listener();
}

beforeEach(async () => {
  serving = true;
  server = await serve((router) =>
    healthService(router, {
      services: [WorkflowService, EventStreamService],
      isServing: () => serving,
      onChange(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    }),
  );
});

afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await vi.waitFor(() => expect(listeners.size).toBe(0));
});

const createHealth = () => createClient(Health, createGrpcTransport({ baseUrl: server.url }));

/** The status of the next message. */
async function next(messages: AsyncIterator<{ status: Status }>): Promise<Status | "ended"> {
  const { done, value } = await messages.next();
  return done ? "ended" : value.status;
}

describe("Check", () => {
  test("tells the state of the server and of each service", async () => {
    const health = createHealth();
    for (const service of ["", "tributary.v1.WorkflowService", "tributary.v1.EventStreamService"]) {
      setServing(true);
      expect((await health.check({ service })).status).toBe(Status.SERVING);
      setServing(false);
      expect((await health.check({ service })).status).toBe(Status.NOT_SERVING);
    }
  });

  test("answers NOT_FOUND for an unknown service and names the known ones", async () => {
    const error = await createHealth()
      .check({ service: "tributary.v1.Nothing" })
      .catch((reason: unknown) => ConnectError.from(reason));
    expect(error).toMatchObject({ code: Code.NotFound });
    expect((error as ConnectError).rawMessage).toBe(
      'service must be empty or one of tributary.v1.WorkflowService, tributary.v1.EventStreamService, found "tributary.v1.Nothing"',
    );
  });
});

describe("List", () => {
  test("tells the state of all", async () => {
    setServing(false);
    const { statuses } = await createHealth().list({});
    expect(Object.entries(statuses).map(([name, { status }]) => [name, status])).toEqual([
      ["", Status.NOT_SERVING],
      ["tributary.v1.WorkflowService", Status.NOT_SERVING],
      ["tributary.v1.EventStreamService", Status.NOT_SERVING],
    ]);
  });
});

describe("Watch", () => {
  test("tells the state at once and then every change, but nothing when nothing changed", async () => {
    const messages = createHealth().watch({ service: "" })[Symbol.asyncIterator]();
    expect(await next(messages)).toBe(Status.SERVING);
    setServing(true);
    setServing(false);
    expect(await next(messages)).toBe(Status.NOT_SERVING);
    setServing(true);
    expect(await next(messages)).toBe(Status.SERVING);
    await messages.return?.();
  });

  test("says SERVICE_UNKNOWN for an unknown service and stays open", async () => {
    const call = new AbortController();
    const messages = createHealth().watch({ service: "x" }, { signal: call.signal })[Symbol.asyncIterator]();
    expect(await next(messages)).toBe(Status.SERVICE_UNKNOWN);
    setServing(false);
    const pending = next(messages).catch((reason: unknown) => ConnectError.from(reason).code);
    expect(listeners.size).toBe(1);
    call.abort();
    expect(await pending).toBe(Code.Canceled);
  });

  test("lets go of its listener when the caller leaves", async () => {
    const call = new AbortController();
    const messages = createHealth().watch({}, { signal: call.signal })[Symbol.asyncIterator]();
    await next(messages);
    expect(listeners.size).toBe(1);
    call.abort();
    await vi.waitFor(() => expect(listeners.size).toBe(0));
  });

  test("ends with the reason of the shutdown, not in silence", async () => {
    const messages = createHealth().watch({})[Symbol.asyncIterator]();
    await next(messages);
    const pending = next(messages).catch((reason: unknown) => ConnectError.from(reason).code);
    server.shutDown(new ConnectError("shutting down", Code.Unavailable));
    expect(await pending).toBe(Code.Unavailable);
  });
});
