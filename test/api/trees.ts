/** Workflows and events to test with. */
import { once } from "node:events";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Event, EventType } from "../../gen/tributary/v1/event_pb.ts";
import type { ReadEventsRequestSchema } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import type {
  PublishTaskEventsRequestSchema,
  PublishTaskEventsResponse,
  TaskEventSchema,
} from "../../gen/tributary/v1/task_stream_service_pb.ts";
import type { CreateWorkflowRequestSchema, Workflow } from "../../gen/tributary/v1/workflow_service_pb.ts";
import type { Clients } from "../support/server.ts";

/** The fields of a message, each of which may be left out. */
export type Fields<M> = Partial<Omit<M, "$typeName" | "$unknown">>;

export type TaskEventInit = MessageInitShape<typeof TaskEventSchema>;

export async function createWorkflow(
  { workflows }: Clients,
  request: Partial<Exclude<MessageInitShape<typeof CreateWorkflowRequestSchema>, { $typeName: string }>> = {},
): Promise<Workflow> {
  const { workflow } = await workflows.createWorkflow({ name: "a workflow", ...request });
  if (workflow === undefined) throw new Error("no workflow in the answer");
  return workflow;
}

/** Makes a workflow and gives its id. */
export async function newWorkflow(clients: Clients, parentWorkflowId = ""): Promise<string> {
  const { workflowId } = await createWorkflow(clients, { parentWorkflowId });
  return workflowId;
}

/** A root, its child, its grandchild, and a second child. */
export async function newFamily(
  clients: Clients,
): Promise<{ root: string; child: string; grandchild: string; sibling: string }> {
  const root = await newWorkflow(clients);
  const child = await newWorkflow(clients, root);
  const grandchild = await newWorkflow(clients, child);
  const sibling = await newWorkflow(clients, root);
  return { root, child, grandchild, sibling };
}

export function token(workflowId: string, text: string, taskExecutionId = "t"): TaskEventInit {
  return { workflowId, taskExecutionId, type: EventType.TOKEN, payload: { case: "text", value: text } };
}

/** Publishes these events in messages of at most `batch`, numbered if a producer is given. Answers when durable. */
export function publish(
  { tasks }: Clients,
  events: readonly TaskEventInit[],
  { batch = 1000, producerId = "" }: { batch?: number; producerId?: string } = {},
): Promise<PublishTaskEventsResponse> {
  return tasks.publishTaskEvents(inMessages(events, batch, producerId));
}

export async function* inMessages(
  events: readonly TaskEventInit[],
  batch = 1000,
  producerId = "",
): AsyncIterable<MessageInitShape<typeof PublishTaskEventsRequestSchema>> {
  for (let at = 0; at < events.length; at += batch)
    yield { events: events.slice(at, at + batch), producerId };
}

/** All events of a workflow or subtree, by pages. */
export async function readAll(
  { streams }: Clients,
  workflowId: string,
  request: Partial<Exclude<MessageInitShape<typeof ReadEventsRequestSchema>, { $typeName: string }>> = {
    consolidated: true,
  },
): Promise<Event[]> {
  const events: Event[] = [];
  for (let cursor = 0n; ; ) {
    const page = await streams.readEvents({ limit: 1000, ...request, workflowId, cursor });
    events.push(...page.events);
    if (!page.more) return events;
    cursor = page.nextCursor;
  }
}

export const repeat = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index));

/** Many calls, a hundred at a time: more would wait so long for the server's few connections to Postgres that it refuses some. */
export async function inLots<T>(count: number, call: (index: number) => Promise<T>): Promise<T[]> {
  const answers: T[] = [];
  while (answers.length < count) {
    const first = answers.length;
    answers.push(...(await Promise.all(repeat(Math.min(100, count - first), (i) => call(first + i)))));
  }
  return answers;
}

/** One whose call has ended without a word. */
export async function newSession({ tasks }: Clients, workflowId: string): Promise<string> {
  const leave = new AbortController();
  async function* requests() {
    yield { operation: { case: "init" as const, value: { workflowId, session: {} } } };
    await once(leave.signal, "abort");
  }
  try {
    for await (const { reply } of tasks.publishTaskStream(requests(), { signal: leave.signal })) {
      if (reply?.message.case === "initAck") return reply.message.value.sessionId;
    }
    throw new Error("the session did not begin");
  } finally {
    leave.abort();
  }
}

/** Stores an observation `o` in the space `default`. */
export async function remember({ memory }: Clients): Promise<void> {
  async function* requests() {
    yield { operation: { case: "init" as const, value: { session: {} } } };
    const observations = [{ observationId: "o", content: "c" }];
    yield { operation: { case: "batch" as const, value: { firstSequence: 1n, observations } } };
    yield { operation: { case: "close" as const, value: { drain: true } } };
  }
  for await (const _ of memory.observeStream(requests())) {
    // to its end
  }
}
