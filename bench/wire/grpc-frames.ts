/** gRPC's framing of messages on an HTTP/2 stream: a flag, a length of four bytes, the message. */
export const headBytes = 5;

export function toFrame(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headBytes + message.byteLength);
  frame.writeUInt8(0, 0);
  frame.writeUInt32BE(message.byteLength, 1);
  frame.set(message, headBytes);
  return frame;
}

/** Cuts what arrives into messages. Copies only a message that is spread over chunks. */
export class FrameCutter {
  readonly #onMessage: (bytes: Buffer) => void;
  #parts: Buffer[] = [];
  #held = 0;

  constructor(onMessage: (bytes: Buffer) => void) {
    this.#onMessage = onMessage;
  }

  push(chunk: Buffer): void {
    let bytes = chunk;
    if (this.#held > 0) {
      this.#parts.push(chunk);
      this.#held += chunk.byteLength;
      if (this.#held < this.#needed()) return;
      bytes = Buffer.concat(this.#parts, this.#held);
      this.#parts = [];
      this.#held = 0;
    }
    let at = 0;
    while (bytes.byteLength - at >= headBytes) {
      const end = at + headBytes + bytes.readUInt32BE(at + 1);
      if (end > bytes.byteLength) break;
      this.#onMessage(bytes.subarray(at + headBytes, end));
      at = end;
    }
    if (at === bytes.byteLength) return;
    this.#parts = [bytes.subarray(at)];
    this.#held = bytes.byteLength - at;
  }

  /** Bytes of the message that is incomplete, head included. */
  #needed(): number {
    const [first] = this.#parts;
    if (first !== undefined && first.byteLength >= headBytes) return headBytes + first.readUInt32BE(1);
    if (this.#held < headBytes) return headBytes;
    return headBytes + Buffer.concat(this.#parts, this.#held).readUInt32BE(1);
  }
}
