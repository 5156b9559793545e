import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { type FollowItem, follow } from "../../../client/follow.ts";
import { EventStreamService } from "../../../gen/tributary/v1/event_stream_service_pb.ts";

export function followTree(
  baseUrl: string,
  token: string,
  workflowId: string,
  createTransport = createConnectTransport,
): AsyncGenerator<FollowItem, void> {
  const transport = createTransport({
    baseUrl,
    interceptors: [
      (next) => (request) => {
        request.header.set("Authorization", `Bearer ${token}`);
        return next(request);
      },
    ],
  });
  const client = createClient(EventStreamService, transport);
  return follow((options, signal) => client.streamWorkflowConsolidated({ workflowId, options }, { signal }));
}
