/**
 * What connect-node does as it comes, without a database: the same RPCs with the same messages. Publishing is answered at
 * once; each event goes to the readers of its workflow through a queue in memory, and a reader takes all that waits as one
 * batch, as Tributary's do. A session acknowledges each batch as it comes. It promises nothing: no order between instances, no storage, no bound on its queues.
 */
import { once } from "node:events";
import { createServer, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { AckLevel, type Event } from "../../gen/tributary/v1/event_pb.ts";
import { EventStreamService } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { MemoryService } from "../../gen/tributary/v1/memory_service_pb.ts";
import type { SessionReplySchema } from "../../gen/tributary/v1/session_pb.ts";
import { type TaskEvent, TaskStreamService } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { portSettings } from "./port-settings.ts";
import { Queue } from "./queue.ts";
import { batchOf, type History, opened, readyBatches, toStored } from "./ready-events.ts";
import { stockVariables } from "./stock-variables.ts";

/** Entries a session may have unacknowledged, as with Tributary. */
const credit = 1000;

const sessionReply = (message: NonNullable<MessageInitShape<typeof SessionReplySchema>["message"]>) => ({
  reply: { message },
});

/** Answers each batch of a session at once. */
async function* acknowledge<Operation extends { readonly case: string | undefined }>(
  requests: AsyncIterable<{ readonly operation: Operation }>,
  entriesOf: (operation: Operation) => number,
) {
  let last = 0n;
  for await (const { operation } of requests) {
    if (operation.case === "init") yield sessionReply({ case: "initAck", value: { credit } });
    if (operation.case !== "batch") continue;
    last += BigInt(entriesOf(operation));
    yield sessionReply({ case: "ack", value: { upToSequence: last, level: AckLevel.DURABLE, credit } });
  }
}

class Broadcast {
  readonly #readers = new Map<string, Set<Queue<Event>>>();
  #offset: number;

  constructor(offset: number) {
    this.#offset = offset;
  }

  publish(events: readonly TaskEvent[]): number {
    for (const event of events) {
      this.#offset += 1;
      const readers = this.#readers.get(event.workflowId);
      if (readers === undefined) continue;
      const stored = [toStored(event, this.#offset)];
      for (const queue of readers) queue.push(stored);
    }
    return this.#offset;
  }

  join(workflowId: string, queue: Queue<Event>): () => void {
    const readers = this.#readers.get(workflowId) ?? new Set();
    this.#readers.set(workflowId, readers.add(queue));
    return () => readers.delete(queue);
  }
}

export async function open({ history }: { history?: History | undefined }) {
  const broadcast = new Broadcast(history?.events ?? 0);
  const ready = history === undefined ? [] : readyBatches(history);
  const handler = connectNodeAdapter({
    routes: (router) => {
      stockVariables(router);
      router.service(TaskStreamService, {
        streamTaskData(request) {
          const { payload: value, type, sequence, taskExecutionId } = request;
          const event = { workflowId: request.workflowExecutionId, taskExecutionId, sequence, type };
          broadcast.publish([{ ...event, payload: { case: "text", value } } as TaskEvent]);
          return { acknowledged: true, level: AckLevel.ACCEPTED };
        },
        async publishTaskEvents(requests) {
          let accepted = 0;
          let lastOffset = 0;
          for await (const { events } of requests) {
            lastOffset = broadcast.publish(events);
            accepted += events.length;
          }
          return { accepted: BigInt(accepted), lastOffset: BigInt(lastOffset) };
        },
        async *publishTaskStream(requests) {
          yield* acknowledge(requests, (said) => (said.case === "batch" ? said.value.events.length : 0));
        },
      });
      router.service(MemoryService, {
        async *observeStream(requests) {
          yield* acknowledge(requests, (said) =>
            said.case === "batch" ? said.value.observations.length : 0,
          );
        },
      });
      router.service(EventStreamService, {
        async *streamWorkflowConsolidated({ workflowId, options }, { signal }) {
          const queue = new Queue<Event>(signal);
          const leave = broadcast.join(workflowId, queue);
          try {
            yield opened(workflowId);
            const isLatest = options?.start.case === "latest";
            if (workflowId === history?.workflowId && !isLatest) yield* ready;
            while (!signal.aborted) {
              const events = await queue.take();
              if (events.length > 0) yield batchOf(events);
            }
          } finally {
            leave();
          }
        },
      });
    },
  });
  const sessions = new Set<ServerHttp2Session>();
  const server = createServer(portSettings, handler);
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
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
