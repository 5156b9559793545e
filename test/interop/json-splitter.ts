/** JSON objects written one after the other, from pieces that end anywhere. */
import { StringDecoder } from "node:string_decoder";
import type { Json } from "./driver.ts";

export class JsonSplitter {
  readonly #onDocument: (document: Json) => void;
  readonly #decoder = new StringDecoder("utf8");
  #text = "";
  #depth = 0;
  #inString = false;
  #escaped = false;

  constructor(onDocument: (document: Json) => void) {
    this.#onDocument = onDocument;
  }

  push(bytes: Buffer): void {
    for (const character of this.#decoder.write(bytes)) {
      this.#text += character;
      if (this.#step(character)) {
        this.#onDocument(JSON.parse(this.#text));
        this.#text = "";
      }
    }
  }

  /** Was this the last character of a document? */
  #step(character: string): boolean {
    if (this.#inString) {
      if (this.#escaped) this.#escaped = false;
      else if (character === "\\") this.#escaped = true;
      else if (character === '"') this.#inString = false;
      return false;
    }
    if (character === '"') this.#inString = true;
    else if (character === "{") this.#depth += 1;
    else if (character === "}") {
      this.#depth -= 1;
      return this.#depth === 0;
    }
    return false;
  }
}
