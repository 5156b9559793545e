/**
 * What the test's web page does, bundled for the browser: calls through connect-web, `EventSource`, and this project's
 * `follow`. Told what to do by the test, and reports everything as it comes.
 */
import {
  type DescMethodStreaming,
  type DescMethodUnary,
  fromJson,
  type JsonValue,
  toJson,
} from "@bufbuild/protobuf";
import { ConnectError, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { EventStreamService } from "../../../gen/tributary/v1/event_stream_service_pb.ts";
import { TaskStreamService } from "../../../gen/tributary/v1/task_stream_service_pb.ts";
import { WorkflowService } from "../../../gen/tributary/v1/workflow_service_pb.ts";
import { codeNames } from "../driver.ts";
import { followTree } from "./follow-tree.ts";
import type { FollowOrder, PageApi, PageOrder, PageReport, RpcOrder, SourceOrder } from "./page-api.ts";

declare const report: (line: PageReport) => Promise<void>;

const services = new Map(
  [EventStreamService, TaskStreamService, WorkflowService].map((s) => [s.typeName as string, s]),
);
const cancels = new Map<number, () => void>();

function transportOf({
  baseUrl,
  protocol,
  credential,
}: Pick<RpcOrder, "baseUrl" | "protocol" | "credential">): Transport {
  const options = {
    baseUrl,
    interceptors: [
      (next: (request: never) => unknown) => (request: { header: Headers }) => {
        if (credential !== undefined) request.header.set("Authorization", `Bearer ${credential}`);
        return next(request as never);
      },
    ] as never,
  };
  if (protocol === "grpcweb") return createGrpcWebTransport(options);
  return createConnectTransport({ ...options, useBinaryFormat: protocol === "connect, binary" });
}

async function call({ id, rpc, requests, ...order }: RpcOrder): Promise<void> {
  const [service = "", name] = rpc.split("/");
  const method = services.get(service)?.methods.find((each) => each.name === name);
  if (method === undefined) throw new Error(`no method ${rpc}`);
  const transport = transportOf(order);
  const messages = requests.map((request) => fromJson(method.input, request as JsonValue));
  const abort = new AbortController();
  cancels.set(id, () => abort.abort());
  const answered = (message: never) =>
    report({ id, message: toJson<typeof method.output>(method.output, message) as never });
  try {
    if (method.methodKind === "unary") {
      const unary = method as DescMethodUnary;
      const { message } = await transport.unary(
        unary,
        abort.signal,
        undefined,
        undefined,
        messages[0] as never,
      );
      await answered(message as never);
    } else {
      const streaming = method as DescMethodStreaming;
      const given = (async function* () {
        yield* messages;
      })();
      const answer = await transport.stream(streaming, abort.signal, undefined, undefined, given as never);
      for await (const message of answer.message) await answered(message as never);
    }
    await report({ id, code: "ok", text: "", details: [] });
  } catch (error) {
    await failed(id, error);
  }
}

async function failed(id: number, error: unknown): Promise<void> {
  const { code, rawMessage, details } = ConnectError.from(error);
  const found = details.map((detail) =>
    "type" in detail ? { type: detail.type, bytes: [...detail.value] } : undefined,
  );
  await report({
    id,
    code: codeNames[code] ?? String(code),
    text: rawMessage,
    details: found.filter((d) => d !== undefined),
  });
}

async function follow({ id, baseUrl, credential, workflowId, shareCalls }: FollowOrder): Promise<void> {
  try {
    for await (const item of followTree(baseUrl, credential ?? "", workflowId, shareCalls)) {
      const offsets = item.kind === "events" ? item.events.map(({ offset }) => String(offset)) : [];
      await report({ id, message: { kind: item.kind, offsets } });
    }
    await report({ id, code: "ok", text: "", details: [] });
  } catch (error) {
    await failed(id, error);
  }
}

/** Listens to every name that the server uses. */
function source({ id, url, names, closeAtEnd }: SourceOrder): void {
  const events = new EventSource(url);
  cancels.set(id, () => events.close());
  for (const name of names) {
    events.addEventListener(name, (event) => {
      const { data, lastEventId } = event as MessageEvent;
      // Not the 'open' that the browser itself fires: that one has no data.
      if (data !== undefined) void report({ id, message: { name, lastEventId, data } });
      if (name === "end" && closeAtEnd) {
        events.close();
        void report({ id, code: "ok", text: "", details: [] });
      }
    });
  }
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) void report({ id, code: "closed", text: "", details: [] });
  });
}

const api: PageApi = {
  run(text) {
    const order: PageOrder = JSON.parse(text);
    if (order.kind === "source") source(order);
    else void (order.kind === "call" ? call(order) : follow(order));
  },
  cancel: (id) => cancels.get(id)?.(),
};
Object.assign(globalThis, { tributary: api });
