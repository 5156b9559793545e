/** The RPCs that the loads speak. */
export const paths = {
  streamTaskData: "/tributary.v1.TaskStreamService/StreamTaskData",
  publishTaskEvents: "/tributary.v1.TaskStreamService/PublishTaskEvents",
  publishTaskStream: "/tributary.v1.TaskStreamService/PublishTaskStream",
  observeStream: "/tributary.v1.MemoryService/ObserveStream",
  streamWorkflowConsolidated: "/tributary.v1.EventStreamService/StreamWorkflowConsolidated",
} as const;
