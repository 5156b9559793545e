/** How a workflow's state looks. */
import { WorkflowStatus, WorkflowStatusSchema } from "../../gen/tributary/v1/event_pb.ts";
import type { Paint } from "./paint.ts";
import { nameOf } from "./plain.ts";

const looks: Readonly<Record<WorkflowStatus, { readonly sign: string; readonly colour: keyof Paint }>> = {
  [WorkflowStatus.UNSPECIFIED]: { sign: "?", colour: "dim" },
  [WorkflowStatus.RUNNING]: { sign: "●", colour: "cyan" },
  [WorkflowStatus.COMPLETED]: { sign: "✔", colour: "green" },
  [WorkflowStatus.FAILED]: { sign: "✖", colour: "red" },
  [WorkflowStatus.CANCELLED]: { sign: "■", colour: "yellow" },
};

const lookOf = (status: WorkflowStatus) => looks[status] ?? looks[WorkflowStatus.UNSPECIFIED];

export const statusSign = (status: WorkflowStatus, paint: Paint): string =>
  paint[lookOf(status).colour](lookOf(status).sign);

export const statusWord = (status: WorkflowStatus, paint: Paint): string =>
  paint[lookOf(status).colour](nameOf(WorkflowStatusSchema, status).toLowerCase());
