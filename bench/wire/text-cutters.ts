/**
 * Cut what arrives into texts: records of Server-Sent Events by the empty line that ends each, and frames of a WebSocket server.
 * What is incomplete is copied, since the bytes belong to somebody else afterwards.
 */
export interface TextCutter {
  push(bytes: Buffer): void;
}

type OnText = (bytes: Buffer, start: number, end: number) => void;

/** Keeps the rest of what came for the next bytes. */
class Rest {
  #rest: Buffer | undefined;

  with(bytes: Buffer): Buffer {
    return this.#rest === undefined ? bytes : Buffer.concat([this.#rest, bytes]);
  }

  keep(bytes: Buffer, from: number): void {
    this.#rest = from === bytes.byteLength ? undefined : Buffer.from(bytes.subarray(from));
  }
}

/** The lengths of HTTP's chunks stay between the records, where they disturb nothing: a server writes whole records. */
export class SseCutter implements TextCutter {
  readonly #rest = new Rest();
  readonly #onText: OnText;

  constructor(onText: OnText) {
    this.#onText = onText;
  }

  push(chunk: Buffer): void {
    const bytes = this.#rest.with(chunk);
    let at = 0;
    for (let end = bytes.indexOf("\n\n"); end !== -1; end = bytes.indexOf("\n\n", at)) {
      this.#onText(bytes, at, end);
      at = end + 2;
    }
    this.#rest.keep(bytes, at);
  }
}

/** Frames of text that are not masked and not fragmented, as servers send them. */
export class WebSocketCutter implements TextCutter {
  readonly #rest = new Rest();
  readonly #onText: OnText;

  constructor(onText: OnText) {
    this.#onText = onText;
  }

  push(chunk: Buffer): void {
    const bytes = this.#rest.with(chunk);
    let at = 0;
    for (;;) {
      const start = at + headBytes(bytes, at);
      if (start > bytes.byteLength) break;
      const end = start + lengthOf(bytes, at);
      if (end > bytes.byteLength) break;
      this.#onText(bytes, start, end);
      at = end;
    }
    this.#rest.keep(bytes, at);
  }
}

function headBytes(bytes: Buffer, at: number): number {
  const length = bytes[at + 1] ?? 0;
  return length === 127 ? 10 : length === 126 ? 4 : 2;
}

function lengthOf(bytes: Buffer, at: number): number {
  const length = bytes[at + 1] ?? 0;
  if (length === 127) return Number(bytes.readBigUInt64BE(at + 2));
  return length === 126 ? bytes.readUInt16BE(at + 2) : length;
}
