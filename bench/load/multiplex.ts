/** One gRPC call of Multiplex with many labels: cut into messages, and not decoded but for the first of each label. */
import type { ClientHttp2Stream } from "node:http2";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  MultiplexRequestSchema,
  MultiplexResponseSchema,
  StreamScope,
  type StreamTargetSchema,
} from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { toFrame } from "../wire/grpc-frames.ts";
import { paths } from "../wire/paths.ts";
import type { Connections } from "./connections.ts";
import { follow } from "./subscription.ts";

/** Resolves when all labels are live. `onFailure` also hears of a label that ends by an error. */
export async function openMultiplex(
  connections: Connections,
  workflows: readonly string[],
  withoutCredit: number,
  onMessage: (message: Buffer) => void,
  onFailure: (error: Error) => void,
): Promise<ClientHttp2Stream> {
  const stream = connections.call(paths.multiplex);
  const live = Promise.withResolvers<void>();
  let waiting = workflows.length;
  const first = follow(
    stream,
    (bytes) => {
      if (waiting === 0) return onMessage(bytes);
      const { label, result } = fromBinary(MultiplexResponseSchema, bytes);
      if (result.case !== "message") return live.reject(new Error(`${label} ended: ${result.case}`));
      if (result.value.message.case === "opened") waiting -= 1;
      if (waiting === 0) live.resolve();
    },
    (error) => {
      live.reject(error);
      onFailure(error);
    },
  );
  for (const [i, workflowId] of workflows.entries()) {
    stream.write(
      toRequest({
        label: `workflow-${i}`,
        scope: StreamScope.WORKFLOW,
        workflowId,
        options: { start: { case: "latest", value: true } },
        ...(i < withoutCredit && { initialGrant: 0 }),
      }),
    );
  }
  await Promise.all([first, live.promise]);
  return stream;
}

const toRequest = (value: MessageInitShape<typeof StreamTargetSchema>): Buffer =>
  toFrame(
    toBinary(
      MultiplexRequestSchema,
      create(MultiplexRequestSchema, { operation: { case: "subscribe", value } }),
    ),
  );
