/**
 * The floor that Node's http2 sets: what is published is encoded once, and the ready bytes are written to every reader's
 * stream. Speaks just enough gRPC for the same loads. No database, no promise, no bound.
 */
import { once } from "node:events";
import { createServer, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type StreamWorkflowConsolidatedResponse,
  StreamWorkflowConsolidatedResponseSchema,
  StreamWorkflowConsolidatedRequestSchema as SubscribeSchema,
} from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { PublishTaskEventsRequestSchema } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { FrameCutter, toFrame } from "../wire/grpc-frames.ts";
import { paths } from "../wire/paths.ts";
import { portSettings } from "./port-settings.ts";
import { batchOf, type History, opened, readyBatches, toStored } from "./ready-events.ts";

const encode = (message: StreamWorkflowConsolidatedResponse) =>
  toFrame(toBinary(StreamWorkflowConsolidatedResponseSchema, message));

/** An empty PublishTaskEventsResponse. */
const emptyAnswer = toFrame(new Uint8Array());

export async function open({ history }: { history?: History | undefined }) {
  const ready = history === undefined ? [] : readyBatches(history).map(encode);
  const readers = new Map<string, Set<ServerHttp2Stream>>();
  const sessions = new Set<ServerHttp2Session>();
  let offset = history?.events ?? 0;

  function publish(bytes: Buffer): void {
    for (const event of fromBinary(PublishTaskEventsRequestSchema, bytes).events) {
      offset += 1;
      const frame = encode(batchOf([toStored(event, offset)]));
      for (const reader of readers.get(event.workflowId) ?? []) reader.write(frame);
    }
  }

  async function subscribe(stream: ServerHttp2Stream, bytes: Buffer): Promise<void> {
    const { workflowId, options } = fromBinary(SubscribeSchema, bytes);
    stream.write(encode(opened(workflowId)));
    if (workflowId === history?.workflowId && options?.start.case !== "latest") {
      for (const frame of ready) {
        if (stream.destroyed) return;
        if (!stream.write(frame)) await Promise.race([once(stream, "drain"), once(stream, "close")]);
      }
    }
    const others = readers.get(workflowId) ?? new Set();
    readers.set(workflowId, others.add(stream));
    stream.on("close", () => others.delete(stream));
  }

  const server = createServer(portSettings);
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
  });
  server.on("stream", (stream, { ":path": path }) => {
    stream.on("error", () => {}); // a reader that leaves
    const isPublish = path === paths.publishTaskEvents;
    const cutter = new FrameCutter((bytes) => {
      if (isPublish) publish(bytes);
      else void subscribe(stream, bytes).catch(() => {}); // it left meanwhile
    });
    stream.respond(
      { ":status": 200, "content-type": "application/grpc+proto" },
      { waitForTrailers: isPublish },
    );
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.on("data", (chunk: Buffer) => cutter.push(chunk));
    stream.on("end", () => {
      if (isPublish) stream.end(emptyAnswer);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    methods: { url: async () => `http://127.0.0.1:${port}` },
    close: () => {
      for (const session of sessions) session.destroy();
      server.close();
    },
  };
}
