/**
 * The script that every client goes through. Each part uses workflows of its own and returns what was observed, in the
 * form of `normalise.ts`; `expected.ts` says what that must be, for all clients the same.
 */
import { randomUUID } from "node:crypto";
import type { Driver, Json, Rpc } from "./driver.ts";
import { subscription } from "./normalise.ts";
import { answer, ended, hasOffset, observe, readToEnd, settled } from "./observe.ts";

export interface Stage {
  readonly driver: Driver;
  /** Keys of two tenants. */
  readonly acme: string;
  readonly globex: string;
}

/** Everything that a careless encoding breaks: two to four bytes a character, marks, quotes, line ends, U+0000. */
export const text = 'Grüße, 世界 🚀 e\u0301 "\\" \r\n\u2028\0 + %41 &amp;';
export const json = JSON.stringify({ π: [3.14, null, { deep: "✓" }] });
export const binary = Buffer.from([0, 255, 254, 128, 10, 13, 0]).toString("base64");

const workflows = (method: string): Rpc => `tributary.v1.WorkflowService/${method}`;
const tasks = (method: string): Rpc => `tributary.v1.TaskStreamService/${method}`;
const streams = (method: string): Rpc => `tributary.v1.EventStreamService/${method}`;

/** 1. A root and its child; the same again; what is taken; what is malformed. */
export async function registry({ driver, acme, globex }: Stage): Promise<Json> {
  const names = { root: randomUUID(), child: randomUUID(), nobody: randomUUID() };
  const create = (request: Json, key = acme) =>
    observe(driver, names, workflows("CreateWorkflow"), [request], key);
  const root = { workflowId: names.root.toUpperCase(), name: "the root ✓", metadata: { clé: "värde" } };
  const made = {
    root: await create(root),
    child: await create({ workflowId: names.child, parentWorkflowId: names.root, name: "the child" }),
  };
  const rest = {
    again: create(root),
    taken: create({ ...root, name: "another one" }),
    takenFromAbroad: create(root, globex),
    malformedId: create({ workflowId: "not-a-uuid-✓", name: "x" }),
    noName: create({ name: "" }),
    noSuchParent: create({ parentWorkflowId: names.nobody, name: "x" }),
    foreignParent: create({ parentWorkflowId: names.root, name: "x" }, globex),
    chosenByServer: newId(driver, acme),
  };
  return { ...made, ...(await settled(rest)) };
}

/** 2. Every way of publishing, each with its acknowledgement, and what was stored in the end. */
export async function publishing({ driver, acme }: Stage): Promise<Json> {
  const names = { root: await newWorkflow(driver, acme) };
  const call = (rpc: Rpc, ...requests: Json[]) => observe(driver, names, rpc, requests, acme);
  const one = (request: Json) =>
    call(tasks("StreamTaskData"), { workflowExecutionId: names.root, taskExecutionId: "task-1", ...request });
  const event = (fields: Json) => ({ workflowId: names.root, taskExecutionId: "task-2", ...fields });
  const numbered = {
    type: "EVENT_TYPE_PROGRESS",
    payload: '{"progress":0.5}',
    producerId: "p ✓",
    sequence: "7",
  };
  return {
    accepted: await one({ type: "EVENT_TYPE_TOKEN", payload: text, timestampMs: "1234" }),
    durable: await one({ ...numbered, waitForDurable: true }),
    duplicate: await one({ ...numbered, waitForDurable: true }),
    stream: await call(
      tasks("PublishTaskEvents"),
      {
        events: [event({ type: "EVENT_TYPE_DATA", text: json }), event({ type: "EVENT_TYPE_DATA", binary })],
      },
      { events: [event({ type: "EVENT_TYPE_COMPLETED", text: "", sequence: "9007199254740991" })] },
    ),
    afterTheEnd: await call(tasks("PublishTaskEvents"), {
      events: [event({ type: "EVENT_TYPE_TOKEN", text })],
    }),
    /** The valid event before the bad one is stored, and the error says so. */
    halfGood: await call(tasks("PublishTaskEvents"), {
      events: ["EVENT_TYPE_TOKEN", 99].map((type) => event({ taskExecutionId: "task-3", type, text: "x" })),
    }),
    stored: await call(streams("ReadEvents"), { workflowId: names.root }),
  };
}

/** 3. What is refused, by each kind of call. */
export async function refusals({ driver, acme, globex }: Stage): Promise<Json> {
  const names = { root: await newWorkflow(driver, acme), nobody: randomUUID() };
  const { root } = names;
  const data = { workflowExecutionId: root, taskExecutionId: "t", type: "EVENT_TYPE_TOKEN", payload: "x" };
  const batch = { events: [{ workflowId: root, taskExecutionId: "t", type: "EVENT_TYPE_TOKEN", text: "x" }] };
  const follow = streams("StreamWorkflowConsolidated");
  const as = (key: string | undefined) => (rpc: Rpc, request: Json) =>
    observe(driver, names, rpc, [request], key);
  const [mine, theirs, nobodys, forged] = [as(acme), as(globex), as(undefined), as("trb_forged_key")];
  const observed = {
    unknownType: mine(tasks("StreamTaskData"), { ...data, type: 99 }),
    serversType: mine(tasks("StreamTaskData"), { ...data, type: "EVENT_TYPE_WORKFLOW_CREATED" }),
    noTask: mine(tasks("StreamTaskData"), { ...data, taskExecutionId: "" }),
    noCredential: nobodys(tasks("StreamTaskData"), data),
    noCredentialToPublish: nobodys(tasks("PublishTaskEvents"), batch),
    noCredentialToFollow: nobodys(follow, { workflowId: root }),
    forgedCredential: forged(workflows("GetWorkflow"), { workflowId: root }),
    foreign: theirs(workflows("GetWorkflow"), { workflowId: root }),
    foreignToPublish: theirs(tasks("StreamTaskData"), { ...data, waitForDurable: true }),
    foreignToPublishMany: theirs(tasks("PublishTaskEvents"), batch),
    foreignToFollow: theirs(follow, { workflowId: root }),
    foreignToRead: theirs(streams("ReadEvents"), { workflowId: root }),
    unknown: mine(workflows("GetWorkflow"), { workflowId: names.nobody }),
    unknownToFollow: mine(follow, { workflowId: names.nobody }),
    malformedToFollow: mine(follow, { workflowId: "not-a-uuid-✓" }),
    beyondTheTail: mine(follow, { workflowId: root, options: { afterOffset: "2" } }),
  };
  return settled(observed);
}

/** 4. Parent and late child live, from the beginning to the end; then again from the middle, and one task alone. */
export async function following({ driver, acme }: Stage): Promise<Json> {
  const root = await newWorkflow(driver, acme);
  const names: Record<string, string> = { root, child: randomUUID() };
  const publish = (
    workflowId: string | undefined,
    taskExecutionId: string,
    payload: string,
    type = "EVENT_TYPE_TOKEN",
  ) =>
    answer(
      driver.call(
        tasks("StreamTaskData"),
        [{ workflowExecutionId: workflowId, taskExecutionId, type, payload, waitForDurable: true }],
        acme,
      ),
    );
  const whole = streams("StreamWorkflowConsolidated");
  const call = driver.call(whole, [{ workflowId: root, options: { afterOffset: "0" } }], acme);
  try {
    await hasOffset(call, "1");
    await publish(root, "writer", text);
    await hasOffset(call, "2"); // so it is live before the child exists
    await create(driver, acme, { workflowId: names["child"], parentWorkflowId: root, name: "a late child" });
    await publish(names["child"], "helper", "from the child");
    await publish(root, "writer", "done", "EVENT_TYPE_COMPLETED");
    await close(driver, acme, names["child"], "WORKFLOW_STATUS_FAILED");
    await close(driver, acme, root, "WORKFLOW_STATUS_COMPLETED");
    const outcome = await ended(call);
    const opened = call.messages[0]?.["message"] as { opened?: { streamId?: string } } | undefined;
    names["stream"] = opened?.opened?.streamId ?? "";
    const again = (rpc: Rpc, request: Json) =>
      readToEnd(driver, names, rpc, { workflowId: root, ...request }, acme);
    return {
      live: { code: outcome.code, messages: subscription(call.messages, names) },
      ...(await settled({
        fromTheMiddle: again(whole, { options: { afterOffset: "4" } }),
        fromTheEnd: again(whole, { options: { afterOffset: "7" } }),
        onlyTokens: again(whole, { options: { types: ["EVENT_TYPE_TOKEN"] } }),
        parentAlone: again(streams("StreamWorkflow"), {}),
        task: again(streams("StreamTask"), { taskExecutionId: "writer" }),
      })),
    };
  } finally {
    await call.cancel();
  }
}

/** 5. History by pages, both ways. */
export async function pages({ driver, acme }: Stage): Promise<Json> {
  const names = { root: await newWorkflow(driver, acme) };
  for (const payload of ["one", "two", "three"]) {
    const event = {
      workflowExecutionId: names.root,
      taskExecutionId: "t",
      type: "EVENT_TYPE_TOKEN",
      payload,
    };
    await answer(driver.call(tasks("StreamTaskData"), [{ ...event, waitForDurable: true }], acme));
  }
  const read = (request: Json) =>
    observe(driver, names, streams("ReadEvents"), [{ workflowId: names.root, ...request }], acme);
  return settled({
    first: read({ limit: 3, consolidated: true }),
    second: read({ limit: 3, consolidated: true, cursor: "3" }),
    newestFirst: read({ limit: 1, descending: true }),
    none: read({ types: ["EVENT_TYPE_OUTPUT"] }),
  });
}

async function newWorkflow(driver: Driver, key: string): Promise<string> {
  const workflowId = randomUUID();
  await create(driver, key, { workflowId, name: "a root" });
  return workflowId;
}

const create = (driver: Driver, key: string, request: Json) =>
  answer(driver.call(workflows("CreateWorkflow"), [request], key));

const close = (driver: Driver, key: string, workflowId: string | undefined, status: string) =>
  answer(driver.call(workflows("CloseWorkflow"), [{ workflowId, status, payload: '"bye"' }], key));

/** The form of an id that the server chose. */
async function newId(driver: Driver, key: string): Promise<string> {
  const { workflow } = (await create(driver, key, { name: "x" })) as { workflow?: { workflowId?: string } };
  return (workflow?.workflowId ?? "").replace(
    /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    "UUIDv7",
  );
}
