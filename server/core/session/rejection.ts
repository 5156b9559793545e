/**
 * Why entries of a session are not taken: the codes of session.proto, and the texts for what `append` decides. Codes from 16
 * are final: the entry will never be stored, its number is passed. The others leave the sequence where it is.
 */
import type { FinalRejection, Refusal } from "../command.ts";

export const RejectionCode = {
  SEQUENCE_GAP: 1,
  SEQUENCE_DUPLICATE: 2,
  PAUSED: 3,
  OVERLOADED: 4,
  RATE_LIMITED: 5,
  CREDIT_EXCEEDED: 6,
  BAD_MESSAGE: 7,
  INVALID: 16,
  TASK_CLOSED: 17,
  WORKFLOW_CLOSED: 18,
  TOO_LARGE: 19,
  ALREADY_EXISTS: 20,
} as const;

/** The rejection of an entry that `append` refused for good; undefined: not for good, or told before. */
export function toFinalRejection(
  why: Refusal,
  entry: {
    readonly sequence: number;
    readonly workflowId: string;
    readonly taskExecutionId: string;
    readonly observation?: { readonly observationId: string } | undefined;
  },
): FinalRejection | undefined {
  const { sequence, workflowId, taskExecutionId } = entry;
  switch (why) {
    case "task_closed":
      return {
        sequence,
        code: RejectionCode.TASK_CLOSED,
        message: `task_execution_id ${JSON.stringify(taskExecutionId)} has its terminal event already; use a new id for another attempt`,
      };
    case "workflow_closed":
      return {
        sequence,
        code: RejectionCode.WORKFLOW_CLOSED,
        message: `workflow ${workflowId} is closed; its events can be read, not added to`,
      };
    case "workflow_unknown":
      return {
        sequence,
        code: RejectionCode.INVALID,
        message: `workflow_id: ${workflowId} is no workflow of the session's tree; register it as a descendant, or leave the field empty`,
      };
    case "observation_exists":
      return {
        sequence,
        code: RejectionCode.ALREADY_EXISTS,
        message: `observation_id: ${JSON.stringify(entry.observation?.observationId)} exists in this space already; choose another id, or leave it empty`,
      };
    case "unstorable":
      return {
        sequence,
        code: RejectionCode.INVALID,
        message: "the database refused this entry for what it contains; the server's log says why",
      };
    default:
      return undefined;
  }
}
