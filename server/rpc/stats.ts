/** GetStats of AdminService. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import type { GetStatsRequest, GetStatsResponseSchema } from "../../gen/tributary/v1/admin_service_pb.ts";
import { Priority } from "../../gen/tributary/v1/session_pb.ts";
import type { Lane } from "../core/command.ts";
import { readStats, type StatsDeps, type StreamStats } from "../core/system/stats.ts";
import type { TenantStore } from "../core/tenants.ts";
import { tenantSeenBy } from "./context.ts";

export interface StatsServiceDeps {
  readonly stats: StatsDeps;
  readonly tenants: Pick<TenantStore, "limitsOf">;
}

const defaultStreams = 20;

const priorityOf: Record<Lane, Priority> = {
  high: Priority.HIGH,
  normal: Priority.NORMAL,
  low: Priority.LOW,
};

export async function getStats(
  deps: StatsServiceDeps,
  { tenantSlug, maxStreams }: GetStatsRequest,
  context: HandlerContext,
): Promise<MessageInitShape<typeof GetStatsResponseSchema>> {
  const tenant = await tenantSeenBy(deps, tenantSlug, context);
  const stats = readStats(deps.stats, tenant, maxStreams || defaultStreams);
  return {
    instanceId: stats.instanceId,
    uptimeMs: BigInt(Math.round(stats.uptimeMs)),
    status: stats.status,
    totalStreams: stats.totalStreams,
    healthyStreams: stats.healthyStreams,
    subscribers: stats.subscribers,
    sessions: stats.sessions,
    eventsPublished: BigInt(stats.published),
    eventsDelivered: BigInt(stats.delivered),
    eventsTrimmed: BigInt(stats.trimmed),
    streams: stats.streams.map(toStreamMessage),
    lanes: stats.lanes.map(({ lane, entries, capacityEntries, bytes, pressure }) => ({
      priority: priorityOf[lane],
      depth: entries,
      capacity: capacityEntries,
      bytes: BigInt(bytes),
      pressure,
    })),
  };
}

const toStreamMessage = (stream: StreamStats) => ({
  streamId: stream.streamId,
  rootWorkflowId: stream.owner.rootWorkflowId ?? "",
  space: stream.owner.space ?? "",
  readers: stream.readers,
  windowEntries: stream.windowEntries,
  tailOffset: BigInt(stream.tailOffset),
  floorOffset: BigInt(stream.floorOffset),
  slowestReaderLag: BigInt(stream.slowestReaderLag),
  delivered: BigInt(stream.delivered),
  conflated: BigInt(stream.conflated),
  storeReads: BigInt(stream.storeReads),
  lastActivityMs: BigInt(Math.round(stream.lastEventMs)),
});
