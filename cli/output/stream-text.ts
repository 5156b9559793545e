/** A stream for people: tokens as running text, everything else a line with its offset and whose it is. */
import type { FollowItem } from "../../client/index.ts";
import {
  type Event,
  EventType,
  EventTypeSchema,
  WorkflowStatusSchema,
} from "../../gen/tributary/v1/event_pb.ts";
import type { Output } from "./output.ts";
import type { Paint } from "./paint.ts";
import { describePayload, fieldsOf, textOf } from "./payload.ts";
import { nameOf } from "./plain.ts";
import { TokenRuns } from "./token-runs.ts";
import { cleanLine, cleanText, padEnd, shorten, widthOf } from "./width.ts";

const offsetWidth = 6;
const typeWidth = 11;
const widestLabel = 32;
const hues = ["cyan", "magenta", "blue", "yellow", "green"] as const satisfies readonly (keyof Paint)[];

export class StreamText {
  readonly #output: Output;
  readonly #runs: TokenRuns;
  readonly #names: Map<string, string>;
  readonly #hues = new Map<string, (typeof hues)[number]>();
  #labelWidth = 20;

  /** `names`: of the workflows that are known already, by id. */
  constructor(output: Output, names: ReadonlyMap<string, string> = new Map()) {
    this.#output = output;
    this.#names = new Map(names);
    this.#runs = new TokenRuns((text) => output.write(text));
  }

  show(item: FollowItem): void {
    const { paint } = this.#output;
    switch (item.kind) {
      case "events":
        for (const event of item.events) this.#event(event);
        return;
      case "gap":
        this.#runs.flush();
        this.#output.print(
          paint.yellow(`gap: offsets ${item.gap.fromOffset}–${item.gap.toOffset} were trimmed by retention`),
        );
        return;
      case "ended": {
        this.#runs.flush();
        const { status, finalOffset, taskOutcome } = item.ended;
        const outcome =
          taskOutcome === EventType.UNSPECIFIED
            ? nameOf(WorkflowStatusSchema, status)
            : nameOf(EventTypeSchema, taskOutcome);
        this.#output.print(paint.dim(`end of the stream at offset ${finalOffset}: ${outcome.toLowerCase()}`));
        return;
      }
      default:
        this.#runs.flush();
    }
  }

  /** Ends the line that is being written. */
  close(): void {
    this.#runs.flush();
  }

  #event(event: Event): void {
    if (event.type === EventType.WORKFLOW_CREATED) {
      const { name } = fieldsOf(event);
      if (typeof name === "string") this.#names.set(event.workflowId, name);
    }
    const task = `${event.workflowId}/${event.taskExecutionId}`;
    if (event.type === EventType.TOKEN && event.payload.case !== "binary") {
      const heading = () => `${this.#heading(event)}${this.#output.paint.dim("›")} `;
      this.#runs.add(task, cleanText(textOf(event)), heading);
      return;
    }
    this.#runs.flush(event.taskExecutionId === "" ? undefined : task);
    const { paint, isTerminal, columns } = this.#output;
    const type = nameOf(EventTypeSchema, event.type)
      .toLowerCase()
      .replace("workflow_", "")
      .replaceAll("_", " ");
    const start = `${this.#heading(event)}${typePaint(event.type, paint)(padEnd(type, typeWidth))} `;
    const payload = describePayload(event, paint);
    const room = columns - widthOf(start) - 1;
    const fits = !isTerminal || widthOf(payload) <= room;
    this.#output.print(`${start}${fits ? payload : shorten(payload, room)}`.trimEnd());
  }

  #heading({ offset, workflowId, taskExecutionId }: Event): string {
    const { paint } = this.#output;
    const name = cleanLine(this.#names.get(workflowId) ?? `…${workflowId.slice(-8)}`);
    const label = shorten(
      taskExecutionId === "" ? name : `${name}/${cleanLine(taskExecutionId)}`,
      widestLabel,
    );
    this.#labelWidth = Math.max(this.#labelWidth, widthOf(label));
    const padded = padEnd(label, this.#labelWidth);
    return `${paint.dim(String(offset).padStart(offsetWidth))}  ${paint[this.#hueOf(workflowId)](padded)}  `;
  }

  #hueOf(workflowId: string): (typeof hues)[number] {
    let hue = this.#hues.get(workflowId);
    if (hue === undefined) {
      hue = hues[this.#hues.size % hues.length] ?? "cyan";
      this.#hues.set(workflowId, hue);
    }
    return hue;
  }
}

function typePaint(type: EventType, paint: Paint): (text: string) => string {
  switch (type) {
    case EventType.COMPLETED:
    case EventType.WORKFLOW_COMPLETED:
      return paint.green;
    case EventType.ERROR:
    case EventType.FAILED:
    case EventType.WORKFLOW_FAILED:
      return paint.red;
    case EventType.CANCELLED:
    case EventType.WORKFLOW_CANCELLED:
    case EventType.CANCEL_REQUESTED:
      return paint.yellow;
    default:
      return paint.dim;
  }
}
