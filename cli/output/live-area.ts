/**
 * Lines at the bottom of the terminal that are drawn over and over. The cursor is hidden meanwhile and always given back,
 * also when the process ends otherwise. Each frame is one write, shown at once by terminals that can.
 */
import type { Output } from "./output.ts";

const csi = "\u001b[";
const hideCursor = `${csi}?25l`;
const showCursor = `${csi}?25h`;
const beginFrame = `${csi}?2026h`;
const endFrame = `${csi}?2026l`;
const clearToEndOfLine = `${csi}K`;
const clearBelow = `${csi}J`;

export class LiveArea {
  readonly #output: Output;
  #drawn = 0;
  #isOpen = false;
  readonly #restore = () => this.#output.write(showCursor);

  constructor(output: Output) {
    this.#output = output;
  }

  draw(lines: readonly string[]): void {
    if (!this.#isOpen) {
      this.#isOpen = true;
      process.on("exit", this.#restore);
      this.#output.write(hideCursor);
    }
    const up = this.#drawn > 0 ? `${csi}${this.#drawn}A` : "";
    const body = lines.map((line) => `${line}${clearToEndOfLine}\n`).join("");
    this.#output.write(`${beginFrame}${up}\r${body}${clearBelow}${endFrame}`);
    this.#drawn = lines.length;
  }

  /** What was drawn last stays. Safe twice. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#drawn = 0;
    process.off("exit", this.#restore);
    this.#restore();
  }
}
