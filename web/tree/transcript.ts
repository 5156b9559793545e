/**
 * What a task said, in order: text as it streamed in, tool calls with their results, errors, outputs. Bounded: the newest
 * 400 parts and about 64 Ki characters of text; how much was dropped before them is counted. Text is kept in pieces of a few
 * thousand characters, so that one more token redraws one piece.
 */
export type Part =
  | { readonly kind: "text"; readonly id: number; text: string }
  | {
      readonly kind: "tool";
      readonly id: number;
      readonly callId: string;
      readonly name: string;
      readonly args: string;
      result: string | undefined;
    }
  | {
      readonly kind: "note";
      readonly id: number;
      readonly tone: NoteTone;
      readonly label: string;
      readonly text: string;
    };

export type NoteTone = "plain" | "error" | "good";

const mostParts = 400;
const mostCharacters = 65_536;
const pieceCharacters = 2_048;

export class Transcript {
  #parts: Part[] = [];
  #characters = 0;
  #lastId = 0;
  /** Characters of text that are no longer kept. */
  dropped = 0;

  get parts(): readonly Part[] {
    return this.#parts;
  }

  addText(text: string): void {
    const last = this.#parts.at(-1);
    if (last?.kind === "text" && last.text.length < pieceCharacters) last.text += text;
    else this.#push({ kind: "text", id: ++this.#lastId, text });
    this.#characters += text.length;
    while (this.#characters > mostCharacters && this.#parts.length > 1) this.#dropFirst();
  }

  addTool(callId: string, name: string, args: string): void {
    this.#push({ kind: "tool", id: ++this.#lastId, callId, name, args, result: undefined });
  }

  addResult(callId: string, name: string, result: string): void {
    const call = this.#parts.findLast(
      (part) => part.kind === "tool" && part.callId === callId && part.result === undefined,
    );
    if (call?.kind === "tool") call.result = result;
    else this.#push({ kind: "tool", id: ++this.#lastId, callId, name, args: "", result });
  }

  addNote(tone: NoteTone, label: string, text: string): void {
    this.#push({ kind: "note", id: ++this.#lastId, tone, label, text });
  }

  /** The end of the text, for a few lines. */
  tail(characters: number): string {
    let text = "";
    for (let at = this.#parts.length - 1; at >= 0 && text.length < characters; at -= 1) {
      const part = this.#parts[at];
      if (part?.kind === "text") text = part.text + text;
    }
    return text.slice(-characters);
  }

  clone(): Transcript {
    const copy = new Transcript();
    copy.#parts = this.#parts.map((part) => ({ ...part }));
    copy.#characters = this.#characters;
    copy.#lastId = this.#lastId;
    copy.dropped = this.dropped;
    return copy;
  }

  #push(part: Part): void {
    this.#parts.push(part);
    if (this.#parts.length > mostParts) this.#dropFirst();
  }

  #dropFirst(): void {
    const first = this.#parts.shift();
    if (first?.kind !== "text") return;
    this.#characters -= first.text.length;
    this.dropped += first.text.length;
  }
}
