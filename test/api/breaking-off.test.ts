/**
 * Readers and writers that break off at any moment, also while the server waits for them to take more, or they for it: nothing
 * of them is left.
 */
import { type Client, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { createConnectTransport as createFetchTransport } from "@connectrpc/connect-web";
import { expect, test } from "vitest";
import { EventStreamService, StreamScope } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { TaskStreamService } from "../../gen/tributary/v1/task_stream_service_pb.ts";
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

const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

interface Callers {
  readonly streams: Client<typeof EventStreamService>;
  readonly tasks: Client<typeof TaskStreamService>;
}
type OpenCall = (clients: Callers, ids: readonly string[], signal: AbortSignal) => AsyncIterable<unknown>;

const oneWay: readonly OpenCall[] = [
  ({ streams }, [workflowId = ""], signal) => streams.streamWorkflow({ workflowId }, { signal }),
  ({ streams }, ids, signal) => {
    const targets = ids.map((id, i) => ({ label: `${i}`, scope: StreamScope.WORKFLOW, workflowId: id }));
    return streams.streamMany({ targets }, { signal });
  },
];

/** Calls that speak both ways, which need HTTP/2. What is said goes on until the call is over. */
const bothWays: readonly OpenCall[] = [
  ({ streams }, ids, signal) =>
    streams.multiplex(
      (async function* () {
        for (let n = 0; !signal.aborted; n++) {
          const [label, workflowId = ""] = [`${n % 8}`, ids[n % ids.length]];
          const value = { label, scope: StreamScope.WORKFLOW, workflowId, initialGrant: 10 };
          if (n < 8) yield { operation: { case: "subscribe" as const, value } };
          else if (n < 12) yield { operation: { case: "unsubscribe" as const, value: { label } } };
          else yield { operation: { case: "grant" as const, value: { label, events: 5 } } };
          if (n >= 12) await delay(1);
        }
      })(),
      { signal },
    ),
  ({ tasks }, [workflowId = ""], signal) =>
    tasks.publishTaskStream(
      (async function* () {
        yield { operation: { case: "init" as const, value: { workflowId, session: {} } } };
        for (let first = 1n; !signal.aborted; first += 20n) {
          const events = Array(20).fill(token(workflowId, "x".repeat(500)));
          yield { operation: { case: "batch" as const, value: { firstSequence: first, events } } };
          await delay(1);
        }
      })(),
      { signal },
    ),
];

test.each(
  [...Object.keys(transports), "Server-Sent Events"].flatMap((way) =>
    seeds(1).map((seed) => [way, seed] as const),
  ),
)("over %s (seed %i)", { timeout: 90_000 }, async (way, seed) => {
  const random = new Random(seed);
  const ids = await Promise.all(Array.from({ length: 5 }, () => newWorkflow(server.acme)));
  const transport = transports[way]?.();
  const clients = transport && {
    streams: createClient(EventStreamService, transport),
    tasks: createClient(TaskStreamService, transport),
  };
  const kinds = clients !== undefined && way.endsWith("HTTP/2") ? [...oneWay, ...bothWays] : oneWay;

  const read = async (signal: AbortSignal, pauseMs: number, call: OpenCall | undefined): Promise<void> => {
    if (clients === undefined) {
      const url = `${server.url}/api/tenants/acme/stream/workflows/${ids[0]}`;
      const answer = await fetch(url, { signal, headers: { authorization: `Bearer ${server.acme.key}` } });
      for await (const _ of answer.body ?? []) await delay(pauseMs);
      return;
    }
    for await (const _ of call?.(clients, ids, signal) ?? []) await delay(pauseMs);
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
      const timer = setTimeout(() => abort.abort(), random.below(i % 2 === 0 ? 60 : 150)); // some get far
      // Ends by the abort; some by an end of the connection that fetch calls otherwise.
      await read(abort.signal, i % 3 === 0 ? 10 : 0, kinds[random.below(kinds.length)]).catch(() => {});
      clearTimeout(timer);
    });
    await Promise.all(breaking);
  }
  isOver = true;
  await writing;
  await until(() =>
    expect(server.server.gauges()).toMatchObject({ openCalls: 0, liveStreams: 0, waitingCommands: 0 }),
  );
});
