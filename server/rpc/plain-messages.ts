/**
 * The messages of a client's stream, as they come: however chunks cut them, at most the one that is asked for and what came in
 * the same chunk are held, and nothing is read that nobody asked for, so the client is held back by its window.
 *
 * Without the layers of Connect, which take a message through five async generators; what is wrong with an envelope or a
 * message is said in its words (test/rpc/direct-calls.test.ts compares).
 */
import type { Http2ServerRequest } from "node:http2";
import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { compressedFlag } from "@connectrpc/connect/protocol";
import { limits } from "../core/limits.ts";

/** undefined: the message is not plain, and is read, or refused, by the generated decoder. */
export type Decode<M> = (bytes: Buffer) => M | undefined;

const headBytes = 5;
const empty = Buffer.alloc(0);

/**
 * Ends with the input or, without a word, with the signal. `endFlag`: of envelopes that are no messages; `tell` hears how many messages
 * were dealt with; `decode` is asked before the generated decoder.
 */
export async function* plainMessages<Desc extends DescMessage>(
  schema: Desc,
  request: Http2ServerRequest,
  endFlag: number | undefined,
  signal: AbortSignal,
  tell: (count: number) => void,
  decode: Decode<MessageShape<Desc>> | undefined,
): AsyncGenerator<MessageShape<Desc>> {
  const input = new Input(request, signal);
  let count = 0;
  try {
    for (;;) {
      const head = await input.take(headBytes);
      if (head === undefined) return;
      const size = head.readUInt32BE(1);
      if (size > limits.messageBytesIn) throw tooLarge(size);
      const flags = head[0] as number;
      const body = size === 0 ? empty : await input.take(size);
      if (body === undefined) return;
      if ((flags & compressedFlag) === compressedFlag) throw compressed();
      if (endFlag !== undefined && (flags & endFlag) === endFlag) continue;
      const message = decode?.(body) ?? parse(schema, body);
      count++;
      yield message;
      tell(count);
    }
  } finally {
    tell(count); // who leaves in the middle leaves with the last one
    input.close();
  }
}

/** Bytes of a request, so many at once. */
class Input {
  readonly #request: Http2ServerRequest;
  readonly #signal: AbortSignal;
  #held: Buffer = empty;
  #ended = false;
  #error: Error | undefined;
  #ring = () => {};
  readonly #onReadable = () => this.#ring();
  readonly #onEnd = () => {
    this.#ended = true;
    this.#ring();
  };
  readonly #onError = (error: Error) => {
    this.#error = error;
    this.#ring();
  };

  constructor(request: Http2ServerRequest, signal: AbortSignal) {
    this.#request = request;
    this.#signal = signal;
    request.on("readable", this.#onReadable);
    request.on("end", this.#onEnd);
    request.on("close", this.#onEnd);
    request.on("error", this.#onError);
    signal.addEventListener("abort", this.#onReadable);
  }

  /** undefined: there are no more, or the signal came first. */
  async take(size: number): Promise<Buffer | undefined> {
    let chunks: Buffer[] | undefined;
    let length = this.#held.byteLength;
    while (length < size) {
      if (this.#signal.aborted) return undefined;
      const chunk = this.#request.read() as Buffer | null;
      if (chunk !== null) {
        chunks ??= length === 0 ? [] : [this.#held];
        chunks.push(chunk);
        length += chunk.byteLength;
        continue;
      }
      if (this.#error !== undefined) throw this.#error;
      if (this.#ended) {
        if (length === 0) return undefined;
        throw incomplete();
      }
      await new Promise<void>((resolve) => {
        this.#ring = resolve;
      });
    }
    if (this.#signal.aborted) return undefined;
    if (chunks !== undefined)
      this.#held = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
    const taken = this.#held.subarray(0, size);
    this.#held = this.#held.byteLength === size ? empty : this.#held.subarray(size);
    return taken;
  }

  close(): void {
    this.#request.off("readable", this.#onReadable);
    this.#request.off("end", this.#onEnd);
    this.#request.off("close", this.#onEnd);
    this.#request.off("error", this.#onError);
    this.#signal.removeEventListener("abort", this.#onReadable);
  }
}

function parse<Desc extends DescMessage>(schema: Desc, bytes: Buffer): MessageShape<Desc> {
  try {
    return fromBinary(schema, bytes);
  } catch (error) {
    throw new ConnectError(
      `parse binary: ${error instanceof Error ? error.message : String(error)}`,
      Code.Internal,
    );
  }
}

const tooLarge = (size: number) =>
  new ConnectError(
    `message size ${size} is larger than configured readMaxBytes ${limits.messageBytesIn}`,
    Code.ResourceExhausted,
  );

const compressed = () =>
  new ConnectError("received compressed envelope, but do not know how to decompress", Code.Internal);

const incomplete = () => new ConnectError("protocol error: incomplete envelope", Code.InvalidArgument);
