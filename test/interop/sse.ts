/**
 * A client that reads by Server-Sent Events and does all else by another way: subscriptions become GET requests, and what
 * comes is put into the form of StreamMessage, so that the same script compares it with the RPCs.
 */
import type { Call, Driver, Json, Rpc } from "./driver.ts";

/** A path has no fields, so what is wrong in it is told in other words; and 204 is what tells `EventSource` to stop. */
export const sseDiffers = {
  refusals: {
    malformedToFollow: { code: "invalid_argument", message: 'workflow id: "not-a-uuid-✓" is not a UUID' },
  },
  following: { fromTheEnd: { code: "no_content", messages: [] } },
};

/** Opens a subscription by its path, like "/api/tenants/acme/stream/workflows/…?after_offset=4". */
export type OpenSse = (path: string, credential: string | undefined) => Call;

export function readingBySse(
  driver: Driver,
  slugOf: (credential: string | undefined) => string,
  open: OpenSse,
): Driver {
  return {
    call(rpc, requests, credential) {
      const tail = tails[rpc];
      if (tail === undefined) return driver.call(rpc, requests, credential);
      const request = requests[0] ?? {};
      const path = `/api/tenants/${slugOf(credential)}/stream/workflows/${encodeURIComponent(String(request["workflowId"]))}`;
      return open(path + tail(request) + queryOf(request["options"] as Json | undefined), credential);
    },
    close: () => driver.close(),
  };
}

const tails: { [rpc: Rpc]: (request: Json) => string } = {
  "tributary.v1.EventStreamService/StreamWorkflow": () => "",
  "tributary.v1.EventStreamService/StreamWorkflowConsolidated": () => "/consolidated",
  "tributary.v1.EventStreamService/StreamTask": ({ taskExecutionId }) =>
    `/tasks/${encodeURIComponent(String(taskExecutionId))}`,
};

function queryOf(options: Json = {}): string {
  const query = new URLSearchParams();
  if (options["afterOffset"] !== undefined) query.set("after_offset", String(options["afterOffset"]));
  if (Array.isArray(options["types"])) {
    query.set("types", options["types"].map((type) => String(type).replace("EVENT_TYPE_", "")).join(","));
  }
  return query.size === 0 ? "" : `?${query}`;
}

/** A record as the message that an RPC would have sent. */
export function toResponse(name: string, id: string, data: string): Json {
  const content: Json = JSON.parse(data);
  switch (name) {
    case "open":
      return { message: { opened: asProto(content) } };
    case "gap":
      return { message: { gap: asProto({ ...content, reason: `GAP_REASON_${content["reason"]}` }) } };
    case "closing":
      return { message: { closing: { ...content, reason: `CLOSING_REASON_${content["reason"]}` } } };
    case "end": {
      assertId(id, content["finalOffset"]);
      const status = `WORKFLOW_STATUS_${content["status"]}`;
      const taskOutcome =
        content["taskOutcome"] === "UNSPECIFIED" ? "" : `EVENT_TYPE_${content["taskOutcome"]}`;
      return { message: { ended: asProto({ ...content, status, taskOutcome }) } };
    }
    default: {
      assertId(id, content["offset"]);
      if (name !== (content["type"] === "ERROR" ? "task_error" : String(content["type"]).toLowerCase())) {
        throw new Error(`the event ${name} has the type ${content["type"]}`);
      }
      return { message: { events: { events: [toEvent(content)] } } };
    }
  }
}

function toEvent({ type, workflowExecutionId, payload, payloadBase64, ...rest }: Json): Json {
  return {
    ...asProto({ ...rest, workflowId: workflowExecutionId, type: `EVENT_TYPE_${type}` }),
    ...(payloadBase64 === undefined ? { text: payload } : { binary: payloadBase64 }),
  };
}

/** SSE writes 64-bit fields as numbers and writes zeros out; the JSON of protobuf does neither. */
function asProto(content: Json): Json {
  const entries = Object.entries(content).filter(([, value]) => value !== 0 && value !== "");
  return Object.fromEntries(
    entries.map(([field, value]) => [field, typeof value === "number" ? String(value) : value]),
  );
}

/** The id is what `EventSource` comes back with. */
function assertId(id: string, offset: unknown): void {
  if (id !== String(offset))
    throw new Error(`the record of offset ${offset} has the id ${JSON.stringify(id)}`);
}
