/**
 * How the servers that are no gRPC servers are written to: PublishTaskEvents over plain `http2` on a port of its own, as to
 * `raw http2`. So all contenders of a fan-out take what is published in the same way, and differ in what they do with it.
 */
import { once } from "node:events";
import { createServer, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { fromBinary } from "@bufbuild/protobuf";
import {
  PublishTaskEventsRequestSchema,
  type TaskEvent,
} from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { FrameCutter, toFrame } from "../wire/grpc-frames.ts";
import { portSettings } from "./port-settings.ts";

export interface PublishPort {
  readonly url: string;
  close(): void;
}

/** An empty PublishTaskEventsResponse. */
const emptyAnswer = toFrame(new Uint8Array());

/** `onEvent` gets each event and its number, from 1. */
export async function openPublishPort(
  onEvent: (event: TaskEvent, offset: number) => void,
): Promise<PublishPort> {
  const sessions = new Set<ServerHttp2Session>();
  let offset = 0;
  const server = createServer(portSettings);
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
  });
  server.on("stream", (stream) => {
    stream.on("error", () => {}); // a publisher that leaves
    const cutter = new FrameCutter((bytes) => {
      for (const event of fromBinary(PublishTaskEventsRequestSchema, bytes).events) {
        offset += 1;
        onEvent(event, offset);
      }
    });
    stream.respond({ ":status": 200, "content-type": "application/grpc+proto" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.on("data", (chunk: Buffer) => cutter.push(chunk));
    stream.on("end", () => stream.end(emptyAnswer));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    close: () => {
      for (const session of sessions) session.destroy();
      server.close();
    },
  };
}
