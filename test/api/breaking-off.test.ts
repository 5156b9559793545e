/** Readers that break off at any moment, also while the server waits for them to take more: nothing of them is left. */
import { createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { createConnectTransport as createFetchTransport } from "@connectrpc/connect-web";
import { expect, test } from "vitest";
import { EventStreamService, StreamScope } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { Random, seeds } from "../support/random.ts";
import { useServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { newWorkflow, publish, token } from "./trees.ts";

const server = useServer();

const transports: Readonly<Record<string, () => Transport>> = {
  "Connect by fetch, HTTP/1.1": () => createFetchTransport(options()),
  "gRPC-Web, HTTP/1.1": () => createGrpcWebTransport({ ...options(), httpVersion: "1.1" }),
  "Connect, HTTP/2": () => createConnectTransport({ ...options(), httpVersion: "2" }),
  "gRPC, HTTP/2": () => createGrpcTransport(options()),
};
const withKey: Interceptor = (next) => (request) => {
  request.header.set("authorization", `Bearer ${server.acme.key}`);
  return next(request);
};
const options = () => ({ baseUrl: server.url, useBinaryFormat: true, interceptors: [withKey] });

test.each(
  [...Object.keys(transports), "Server-Sent Events"].flatMap((way) =>
    seeds(1).map((seed) => [way, seed] as const),
  ),
)("over %s (seed %i)", { timeout: 90_000 }, async (way, seed) => {
  const random = new Random(seed);
  const ids = await Promise.all(Array.from({ length: 5 }, () => newWorkflow(server.acme)));
  const client = transports[way] && createClient(EventStreamService, transports[way]());
  const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

  const read = async (signal: AbortSignal, pauseMs: number, isMany: boolean): Promise<void> => {
    const workflowId = ids[0] ?? "";
    if (client === undefined) {
      const url = `${server.url}/api/tenants/acme/stream/workflows/${workflowId}`;
      const answer = await fetch(url, { signal, headers: { authorization: `Bearer ${server.acme.key}` } });
      for await (const _ of answer.body ?? []) await delay(pauseMs);
      return;
    }
    const targets = ids.map((id, i) => ({ label: `${i}`, scope: StreamScope.WORKFLOW, workflowId: id }));
    const messages = isMany
      ? client.streamMany({ targets }, { signal })
      : client.streamWorkflow({ workflowId }, { signal });
    for await (const _ of messages) await delay(pauseMs);
  };

  let isOver = false;
  const writing = (async () => {
    const text = "x".repeat(500);
    while (!isOver)
      await publish(
        server.acme,
        ids.flatMap((id) => Array(20).fill(token(id, text))),
      );
  })();
  for (let round = 0; round < 20; round++) {
    const breaking = Array.from({ length: 10 }, async (_, i) => {
      const abort = new AbortController();
      const timer = setTimeout(() => abort.abort(), random.below(60));
      // Ends by the abort; some by an end of the connection that fetch calls otherwise.
      await read(abort.signal, i % 3 === 0 ? 10 : 0, random.chance(0.5)).catch(() => {});
      clearTimeout(timer);
    });
    await Promise.all(breaking);
  }
  isOver = true;
  await writing;
  await until(() => expect(server.server.gauges()).toMatchObject({ openCalls: 0, liveStreams: 0 }));
});
