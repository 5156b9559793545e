/** The board as lines that fit a terminal: the tree, a bar for each workflow, and the end of what it has written. */
import { WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import type { Paint } from "../output/paint.ts";
import { progressBar } from "../output/progress-bar.ts";
import { statusSign } from "../output/status.ts";
import { drawTree } from "../output/tree.ts";
import { padEnd, shorten, widthOf, wrap } from "../output/width.ts";
import type { Board } from "./board.ts";

export interface Frame {
  readonly columns: number;
  readonly rows: number;
  /** How many workflows will be on it in the end, so that the text of the first does not shrink. */
  readonly expectedRows: number;
}

const margin = " ";
const widestBar = 28;
const narrowestBar = 8;
const percentWidth = 6;
const mostTextLines = 4;

export function drawBoard(board: Board, { columns, rows, expectedRows }: Frame, paint: Paint): string[] {
  const width = columns - 1; // a full line would wrap on some terminals
  const count = Math.max(expectedRows, board.rows.length);
  const textLines = Math.min(mostTextLines, Math.max(1, Math.floor((rows - 4) / count) - 1));
  const tree = drawTree(board.rows);
  const widestName = Math.max(0, ...tree.map(({ branch, node }) => widthOf(branch) + 2 + widthOf(node.name)));
  const barWidth = Math.min(widestBar, Math.max(narrowestBar, width - widestName - percentWidth - 4));
  const nameWidth = Math.min(widestName, Math.max(8, width - barWidth - percentWidth - 3));

  const lines: string[] = [];
  for (const { node, branch, below } of tree) {
    const name = shorten(node.name, nameWidth - widthOf(branch) - 2);
    const head = `${paint.dim(branch)}${statusSign(node.status, paint)} ${paint.bold(name)}`;
    lines.push(`${margin}${padEnd(head, nameWidth)}  ${progressBar(node.progress, barWidth, paint)}`);
    const written =
      node.text === ""
        ? []
        : wrap(node.text.trimEnd(), Math.max(10, width - widthOf(below) - 2)).slice(-textLines);
    const isWriting = node.status === WorkflowStatus.RUNNING;
    for (const [at, text] of written.entries()) {
      const isLast = isWriting && at === written.length - 1;
      lines.push(`${margin}${paint.dim(below)}${isLast ? text : paint.dim(text)}`);
    }
  }
  const running = board.rows.filter(({ status }) => status === WorkflowStatus.RUNNING).length;
  const footer = `${board.events} events · offset ${board.offset} · ${board.rows.length} workflows, ${running} running · one stream, one cursor`;
  lines.push("", `${margin}${paint.dim(shorten(footer, width - 1))}`);
  // A line too many would scroll, and a picture that scrolled cannot be drawn over.
  return lines.slice(-Math.max(1, rows - 1));
}
