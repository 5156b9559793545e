/** One gRPC call that follows something: cut into messages, and not decoded. */
import type { ClientHttp2Stream } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { StreamWorkflowConsolidatedRequestSchema } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { FrameCutter, toFrame } from "../wire/grpc-frames.ts";
import { paths } from "../wire/paths.ts";
import { type Connections, ended } from "./connections.ts";

export type From = "latest" | "beginning";
/** The workflow with all below it, or alone: their requests look the same. */
export type Scope = "tree" | "workflow";

const pathOf: Readonly<Record<Scope, string>> = {
  tree: paths.streamWorkflowConsolidated,
  workflow: paths.streamWorkflow,
};

const openLimitMs = 30_000;

/** The call alone, not read yet. */
export function call(
  connections: Connections,
  workflowId: string,
  from: From,
  scope: Scope = "tree",
): ClientHttp2Stream {
  const start =
    from === "latest"
      ? ({ case: "latest", value: true } as const)
      : ({ case: "afterOffset", value: 0n } as const);
  const request = create(StreamWorkflowConsolidatedRequestSchema, { workflowId, options: { start } });
  const stream = connections.call(pathOf[scope]);
  stream.end(toFrame(toBinary(StreamWorkflowConsolidatedRequestSchema, request)));
  return stream;
}

/**
 * Reads it to its end. Resolves with the first message, which says that the subscription is live; `onFailure` hears of a call
 * that ends badly at any time.
 */
export function follow(
  stream: ClientHttp2Stream,
  onMessage: (message: Buffer) => void,
  onFailure: (error: Error) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("a subscription did not open")), openLimitMs);
    const cutter = new FrameCutter((message) => {
      clearTimeout(timer);
      resolve();
      onMessage(message);
    });
    stream.on("data", (chunk: Buffer) => cutter.push(chunk));
    ended(stream).then(
      () => reject(new Error("a subscription ended")),
      (error: Error) => {
        clearTimeout(timer);
        onFailure(error);
        reject(error);
      },
    );
  });
}
