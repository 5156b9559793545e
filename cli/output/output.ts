/**
 * Where a command prints: results on stdout, for people or as JSON lines; everything else on stderr. A reader that goes
 * away (`| head`) ends the command quietly.
 */
import type { Environment } from "../environment.ts";
import type { FailureText } from "../failure.ts";
import { createPaint, type Paint } from "./paint.ts";
import { cleanLine } from "./width.ts";

const defaultColumns = 80;
const defaultRows = 24;

export class Output {
  /** One JSON object a line instead of text for people. */
  json = false;
  readonly isTerminal: boolean;
  /** Are notes and logs read by people? */
  readonly notesOnTerminal: boolean;
  /** Colours for stdout. */
  readonly paint: Paint;
  readonly #stdout: NodeJS.WriteStream;
  readonly #stderr: NodeJS.WriteStream;
  readonly #notePaint: Paint;

  constructor(
    process: Pick<NodeJS.Process, "stdout" | "stderr">,
    { colours }: Pick<Environment, "colours">,
    onReaderGone: () => void,
  ) {
    this.#stdout = process.stdout;
    this.#stderr = process.stderr;
    this.isTerminal = this.#stdout.isTTY === true;
    this.notesOnTerminal = this.#stderr.isTTY === true;
    this.paint = createPaint(colours && this.isTerminal);
    this.#notePaint = createPaint(colours && this.notesOnTerminal);
    this.#stdout.on("error", onReaderGone);
    this.#stderr.on("error", () => {}); // nobody listens to notes: no reason to stop
  }

  get columns(): number {
    return this.#stdout.columns || defaultColumns;
  }

  get rows(): number {
    return this.#stdout.rows || defaultRows;
  }

  /** Text as it is. */
  write(text: string): void {
    this.#stdout.write(text);
  }

  print(line = ""): void {
    this.#stdout.write(`${line}\n`);
  }

  object(value: object): void {
    this.#stdout.write(`${JSON.stringify(value)}\n`);
  }

  /** The result, in whichever form is asked for. */
  result(value: object, text: () => string): void {
    if (this.json) this.object(value);
    else this.print(text());
  }

  /** Something on the side, on stderr. */
  note(text: string): void {
    this.#stderr.write(`${this.#notePaint.dim(text)}\n`);
  }

  fail({ message, hint, code }: FailureText): void {
    if (this.json) {
      this.#stderr.write(`${JSON.stringify({ kind: "error", code, message, hint: hint ?? "" })}\n`);
      return;
    }
    this.#stderr.write(`${this.#notePaint.red("✖")} ${cleanLine(message)}\n`);
    if (hint !== undefined) this.#stderr.write(`  ${hint}\n`);
  }

  /** Until everything is written. */
  async flush(): Promise<void> {
    for (const stream of [this.#stdout, this.#stderr]) {
      await new Promise<void>((resolve) => stream.write("", () => resolve()));
    }
  }
}
