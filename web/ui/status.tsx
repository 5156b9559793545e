/** States as a sign with a word: never by colour alone. */
import type { ReactNode } from "react";
import { WorkflowStatus } from "../../client/browser.ts";

const states: Partial<Record<WorkflowStatus, { readonly name: string; readonly sign: string }>> = {
  [WorkflowStatus.RUNNING]: { name: "running", sign: "●" },
  [WorkflowStatus.COMPLETED]: { name: "completed", sign: "✓" },
  [WorkflowStatus.FAILED]: { name: "failed", sign: "✕" },
  [WorkflowStatus.CANCELLED]: { name: "cancelled", sign: "⊘" },
};

export const statusName = (status: WorkflowStatus): string => states[status]?.name ?? "unknown";

export function Status({ status }: { readonly status: WorkflowStatus }): ReactNode {
  const { name, sign } = states[status] ?? { name: "unknown", sign: "?" };
  return (
    <span className={`status ${name}`}>
      <span aria-hidden="true" className="sign">
        {sign}
      </span>
      {name}
    </span>
  );
}

/** Scaled, not resized: a change repaints, and lays nothing out anew. (React sets styles by script, which the page's policy allows.) */
export function Progress({
  share,
  status,
  label,
}: {
  readonly share: number;
  readonly status: WorkflowStatus;
  readonly label: string;
}): ReactNode {
  const percent = Math.round(share * 100);
  return (
    <div
      className={`progress ${statusName(status)}`}
      role="progressbar"
      aria-label={label}
      aria-valuenow={percent}
      aria-valuemin={0}
      aria-valuemax={100}
    >
      <div className="bar" style={{ transform: `scaleX(${share})` }} />
    </div>
  );
}
