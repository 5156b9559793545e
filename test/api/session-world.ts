/** What the tests of sessions share: a session on a new tree, and what is stored of it. */
import type { Event } from "../../gen/tributary/v1/event_pb.ts";
import type { Clients } from "../support/server.ts";
import { openSession, type SessionCall } from "../support/session-call.ts";
import { newWorkflow, readAll } from "./trees.ts";

export type InitOptions = Parameters<typeof openSession>[2];

/** Numbers as texts: what entry n says is n. */
export const texts = (count: number, from = 1): string[] =>
  Array.from({ length: count }, (_, i) => `${from + i}`);

export async function begin(
  clients: Clients,
  session?: InitOptions,
): Promise<{ workflowId: string; call: SessionCall; sessionId: string }> {
  const workflowId = await newWorkflow(clients);
  const call = await openSession(clients, workflowId, session);
  const { sessionId } = await call.opened();
  return { workflowId, call, sessionId };
}

/** The tree's events without those of the workflows themselves. */
export async function storedEvents(clients: Clients, workflowId: string): Promise<Event[]> {
  const events = await readAll(clients, workflowId);
  return events.filter(({ taskExecutionId }) => taskExecutionId !== "");
}

/** What they say. */
export async function stored(clients: Clients, workflowId: string): Promise<string[]> {
  return (await storedEvents(clients, workflowId)).map(({ payload }) => String(payload.value));
}
