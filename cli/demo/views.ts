/** The three ways to show the demo: a live picture on a terminal, lines elsewhere, JSON for programs. */
import type { FollowItem } from "../../client/index.ts";
import { LiveArea } from "../output/live-area.ts";
import type { Output } from "../output/output.ts";
import { showAsJson } from "../output/stream-json.ts";
import { StreamText } from "../output/stream-text.ts";
import { Board } from "./board.ts";
import { drawBoard } from "./picture.ts";
import type { WatchLines } from "./watch-lines.ts";
import { toSentence, type Verdict } from "./witness.ts";

export interface DemoView {
  begin(url: string, workflowId: string, watch: WatchLines): void;
  show(item: FollowItem): void;
  /** Gives the terminal back; what was shown stays. Safe twice. */
  close(): void;
  /** The last line. */
  conclude(verdict: Verdict): void;
}

const frameMs = 50;
const workflowsInTheEnd = 4;

export function createView(output: Output): DemoView {
  if (output.json) return jsonView(output);
  return output.isTerminal ? pictureView(output) : textView(output);
}

function jsonView(output: Output): DemoView {
  return {
    begin: (url, workflowId, watch) => output.object({ kind: "demo", url, workflowId, watch }),
    show: (item) => showAsJson(output, item),
    close() {},
    conclude: (verdict) => output.object({ kind: verdict.complete ? "complete" : "incomplete", ...verdict }),
  };
}

function printHead(
  { paint, print }: Pick<Output, "paint"> & { print: (line: string) => void },
  url: string,
  watch: WatchLines,
) {
  print(`${paint.bold("Tributary demo")} ${paint.dim(`at ${url}`)}`);
  print("Watch it in your browser:");
  print(`  ${paint.cyan(watch.page)}`);
  print("or in another terminal:");
  print(`  ${paint.cyan(watch.curl)}`);
  print(`  ${paint.cyan(watch.tail)}`);
  print("");
}

function conclude(output: Output, verdict: Verdict): void {
  const { green, red } = output.paint;
  output.print((verdict.complete ? green : red)(toSentence(verdict)));
}

function textView(output: Output): DemoView {
  const text = new StreamText(output);
  return {
    begin: (url, _, watch) =>
      printHead({ paint: output.paint, print: (line) => output.print(line) }, url, watch),
    show: (item) => text.show(item),
    close: () => text.close(),
    conclude: (verdict) => conclude(output, verdict),
  };
}

function pictureView(output: Output): DemoView {
  const board = new Board();
  const area = new LiveArea(output);
  let timer: NodeJS.Timeout | undefined;
  const draw = () => {
    const { columns, rows, paint } = output;
    area.draw(drawBoard(board, { columns, rows, expectedRows: workflowsInTheEnd }, paint));
  };
  return {
    begin(url, _, watch) {
      printHead({ paint: output.paint, print: (line) => output.print(line) }, url, watch);
      timer = setInterval(draw, frameMs);
    },
    show(item) {
      if (item.kind === "events") for (const event of item.events) board.add(event);
    },
    close() {
      if (timer === undefined) return;
      clearInterval(timer);
      timer = undefined;
      draw();
      area.close();
    },
    conclude(verdict) {
      output.print();
      conclude(output, verdict);
    },
  };
}
