/** The RPCs that the loads speak. */
export const paths = {
  streamTaskData: "/tributary.v1.TaskStreamService/StreamTaskData",
  publishTaskEvents: "/tributary.v1.TaskStreamService/PublishTaskEvents",
  streamWorkflowConsolidated: "/tributary.v1.EventStreamService/StreamWorkflowConsolidated",
} as const;
