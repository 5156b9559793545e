/** StreamSystemEvents of AdminService. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import {
  type StreamSystemEventsRequest,
  type StreamSystemEventsResponse,
  StreamSystemEventsResponseSchema,
  type SystemEventType,
} from "../../gen/tributary/v1/admin_service_pb.ts";
import { toCallOwner } from "../auth/principal.ts";
import {
  type SystemEventDeps,
  type SystemEventMessage,
  streamSystemEvents as stream,
} from "../core/system/stream-system-events.ts";
import type { TenantStore } from "../core/tenants.ts";
import { principalOf, tenantSeenBy } from "./context.ts";
import { toClosing } from "./conversions.ts";
import { type LogBug, toCallError } from "./error-mapping.ts";

export interface SystemEventServiceDeps extends SystemEventDeps {
  readonly tenants: Pick<TenantStore, "limitsOf">;
  readonly logBug: LogBug;
}

export async function* streamSystemEvents(
  deps: SystemEventServiceDeps,
  { types, tenantSlug }: StreamSystemEventsRequest,
  context: HandlerContext,
): AsyncGenerator<StreamSystemEventsResponse> {
  try {
    const tenant = await tenantSeenBy(deps, tenantSlug, context);
    const owner = toCallOwner(principalOf(context));
    for await (const message of stream(deps, { types, tenant }, owner, context.signal))
      yield create(StreamSystemEventsResponseSchema, { message: toOneof(message) });
  } catch (error) {
    throw toCallError(error, context, deps.logBug);
  }
}

type Oneof = NonNullable<MessageInitShape<typeof StreamSystemEventsResponseSchema>["message"]>;

function toOneof(message: SystemEventMessage): Oneof {
  switch (message.kind) {
    case "event": {
      const { tenant: _, type, timestampMs, metadata, ...event } = message.event;
      return {
        case: "event",
        value: {
          ...event,
          type: type as SystemEventType,
          metadata: { ...metadata },
          timestampMs: BigInt(timestampMs),
        },
      };
    }
    case "heartbeat":
      return { case: "heartbeat", value: {} };
    case "closing":
      return { case: "closing", value: toClosing(message) };
  }
}
