/** The RPCs that the loads speak. */
export const paths = {
  streamTaskData: "/tributary.v1.TaskStreamService/StreamTaskData",
  publishTaskEvents: "/tributary.v1.TaskStreamService/PublishTaskEvents",
  publishTaskStream: "/tributary.v1.TaskStreamService/PublishTaskStream",
  observeStream: "/tributary.v1.MemoryService/ObserveStream",
  setVariable: "/tributary.v1.VariableService/SetVariable",
  setVariables: "/tributary.v1.VariableService/SetVariables",
  watchVariables: "/tributary.v1.VariableService/WatchVariables",
  streamWorkflow: "/tributary.v1.EventStreamService/StreamWorkflow",
  multiplex: "/tributary.v1.EventStreamService/Multiplex",
  streamWorkflowConsolidated: "/tributary.v1.EventStreamService/StreamWorkflowConsolidated",
} as const;
