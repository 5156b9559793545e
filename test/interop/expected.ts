/** What every client must observe, whatever its protocol, library and HTTP version: the contract, in the script's names. */
import { expect } from "vitest";
import { binary, json, text } from "./script.ts";

const refused = (code: string, message: RegExp, ...details: unknown[]) => ({
  code,
  message: expect.stringMatching(message),
  ...(details.length === 0 ? {} : { details }),
});
/** By the rules in the proto files: the field, what it must be, the value found; and the same for machines. */
const invalid = (message: RegExp) => refused("invalid_argument", message, "buf.validate.Violations");
const progress = (content: object) => ({ "tributary.v1.PublishTaskEventsProgress": content });

const workflow = (fields: object) => [
  {
    workflow: {
      rootWorkflowId: "<root>",
      status: "WORKFLOW_STATUS_RUNNING",
      createdMs: "<now>",
      openInSubtree: 1,
      ...fields,
    },
  },
];
const root = { workflowId: "<root>", name: "the root ✓", metadata: { clé: "värde" } };
const uuid = "must be a UUID such as 0198f3a2-6b1c-7d4e-8f90-a1b2c3d4e5f6";
const taken = refused("already_exists", /^workflow_id: <root> is taken by a workflow with other content; /);
const foreign = /^workflow <root> belongs to another tenant; /;
const unknown = refused("not_found", /^workflow <nobody> does not exist; /);

const registry = {
  root: workflow(root),
  child: workflow({ workflowId: "<child>", parentWorkflowId: "<root>", name: "the child", depth: 1 }),
  again: workflow({ ...root, openInSubtree: 2 }),
  taken,
  takenFromAbroad: taken,
  malformedId: invalid(new RegExp(`^workflow_id ${uuid}, or be empty, found "not-a-uuid-✓"$`)),
  noName: invalid(/^name must have at least 1 character, found ""$/),
  noSuchParent: unknown,
  foreignParent: refused("permission_denied", foreign),
  chosenByServer: "UUIDv7",
};

const event = (offset: string, type: string, fields: object) => ({
  workflowId: "<root>",
  offset,
  type: `EVENT_TYPE_${type}`,
  timestampMs: "<now>",
  recordedMs: "<now>",
  ...fields,
});
const created = event("1", "WORKFLOW_CREATED", { text: '{"name":"a root","depth":0,"metadata":{}}' });
const durable = { acknowledged: true, level: "ACK_LEVEL_DURABLE" };
const notATaskType = (field: string, found: string) =>
  new RegExp(
    `^${field} must be one of EVENT_TYPE_TOKEN \\(1\\), .*EVENT_TYPE_CANCELLED \\(11\\), found ${found}$`,
  );

const publishing = {
  accepted: [{ acknowledged: true, level: "ACK_LEVEL_ACCEPTED" }],
  durable: [{ ...durable, offset: "3" }],
  duplicate: [{ ...durable, duplicate: true }],
  stream: [{ accepted: "3", lastOffset: "6" }],
  afterTheEnd: refused(
    "failed_precondition",
    /^task_execution_id "task-2" has its terminal event already; /,
    progress({}),
  ),
  halfGood: refused(
    "invalid_argument",
    notATaskType("events\\[1\\]\\.type", "99"),
    progress({ accepted: "1", failedIndex: "1" }),
  ),
  stored: [
    {
      events: [
        created,
        event("2", "TOKEN", { taskExecutionId: "task-1", text, timestampMs: "1234" }),
        event("3", "PROGRESS", {
          taskExecutionId: "task-1",
          text: '{"progress":0.5}',
          producerId: "p ✓",
          sequence: "7",
        }),
        event("4", "DATA", { taskExecutionId: "task-2", text: json }),
        event("5", "DATA", { taskExecutionId: "task-2", binary }),
        event("6", "COMPLETED", { taskExecutionId: "task-2", text: "", sequence: "9007199254740991" }),
        event("7", "TOKEN", { taskExecutionId: "task-3", text: "x" }),
      ],
      nextCursor: "7",
      tailOffset: "7",
    },
  ],
};

const noCredential = refused("unauthenticated", /^no credential: .*“Authorization: Bearer/);
const refusals = {
  unknownType: invalid(notATaskType("type", "99")),
  serversType: invalid(notATaskType("type", "EVENT_TYPE_WORKFLOW_CREATED \\(20\\)")),
  noTask: invalid(/^task_execution_id must be 1–255 printable characters .*, found ""$/),
  noCredential,
  noCredentialToPublish: noCredential,
  noCredentialToFollow: noCredential,
  forgedCredential: refused("unauthenticated", /^the credential is not valid: /),
  foreign: refused("permission_denied", foreign),
  foreignToPublish: refused("permission_denied", foreign),
  foreignToPublishMany: refused("permission_denied", foreign, progress({})),
  foreignToFollow: refused("permission_denied", foreign),
  foreignToRead: refused("permission_denied", foreign),
  unknown,
  unknownToFollow: unknown,
  malformedToFollow: invalid(new RegExp(`^workflow_id ${uuid}, found "not-a-uuid-✓"$`)),
  beyondTheTail: refused(
    "out_of_range",
    /^(options\.)?after_offset: 2 is beyond the tail of the stream, which is 1; /,
  ),
};

const tree = [
  created,
  event("2", "TOKEN", { taskExecutionId: "writer", text }),
  event("3", "WORKFLOW_CREATED", {
    workflowId: "<child>",
    text: '{"parentWorkflowId":"<root>","name":"a late child","depth":1,"metadata":{}}',
  }),
  event("4", "TOKEN", { workflowId: "<child>", taskExecutionId: "helper", text: "from the child" }),
  event("5", "COMPLETED", { taskExecutionId: "writer", text: "done" }),
  event("6", "WORKFLOW_FAILED", { workflowId: "<child>", text: '"bye"' }),
  event("7", "WORKFLOW_COMPLETED", { text: '"bye"' }),
];

/** A subscription that sees these offsets of the tree. */
function subscription(opened: object, offsets: readonly number[], ended: object = {}) {
  const events = tree.filter(({ offset }) => offsets.includes(Number(offset)));
  return {
    code: "ok",
    messages: [
      { opened: { streamId: "<stream>", epoch: "<now>", ...opened } },
      ...(events.length === 0 ? [] : [{ events: { events } }]),
      { ended: { status: "WORKFLOW_STATUS_COMPLETED", finalOffset: "7", ...ended } },
    ],
  };
}

const following = {
  live: subscription({ tailOffset: "1" }, [1, 2, 3, 4, 5, 6, 7]),
  fromTheMiddle: subscription({ startOffset: "4", tailOffset: "7" }, [5, 6, 7]),
  fromTheEnd: subscription({ startOffset: "7", tailOffset: "7" }, []),
  onlyTokens: subscription({ tailOffset: "7" }, [2, 4]),
  parentAlone: subscription({ tailOffset: "7" }, [1, 2, 5, 7]),
  task: subscription({ tailOffset: "7" }, [2, 5], { finalOffset: "5", taskOutcome: "EVENT_TYPE_COMPLETED" }),
};

const one = (offset: string, content: string) =>
  event(offset, "TOKEN", { taskExecutionId: "t", text: content });
const pages = {
  first: [
    { events: [created, one("2", "one"), one("3", "two")], nextCursor: "3", more: true, tailOffset: "4" },
  ],
  second: [{ events: [one("4", "three")], nextCursor: "4", tailOffset: "4" }],
  newestFirst: [{ events: [one("4", "three")], nextCursor: "4", more: true, tailOffset: "4" }],
  none: [{ nextCursor: "4", tailOffset: "4" }],
};

export const expected = { registry, publishing, refusals, following, pages };
