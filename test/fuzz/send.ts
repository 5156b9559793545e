/**
 * Sends an input over a real connection and says what came of it. Every wait is bounded: what takes longer is a hang, and is
 * told as one. Connections are kept and shared as clients do, so that what one input did to a connection meets the next.
 */
import { Agent, request as http1Request, type IncomingHttpHeaders } from "node:http";
import { type ClientHttp2Session, connect as http2Connect } from "node:http2";
import { connect as tcpConnect } from "node:net";
import type { CallInput, Credential, Input, RawInput } from "./input.ts";
import { mayGoOn } from "./targets.ts";

export interface Outcome {
  /**
   * answered: to its end. live: it goes on, and was left. left: as the input wanted. quiet: nothing (more) came on a connection
   * that was not complete. closed: the server ended the connection or the call. hang: no answer, no end.
   */
  readonly kind: "answered" | "live" | "left" | "quiet" | "closed" | "hang";
  readonly status?: number;
  readonly headers?: IncomingHttpHeaders;
  readonly trailers?: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly why?: string;
  readonly ms: number;
}

/** No answer within this is a hang, ms. A machine that runs other tests beside is slow. */
const boundMs = 20_000;
/** An answer that has begun and says nothing more for so long is a live stream, ms. */
const lingerMs = 15;
/** Of an answer no more is read. */
const mostBytes = 64 * 1024;
/** An HTTP/2 connection serves so many inputs. */
const perConnection = 1000;

export type Secrets = Readonly<Record<Exclude<Credential["of"], "none">, string>>;

export class Sender {
  readonly #url: URL;
  readonly #secrets: Secrets;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64, scheduling: "lifo" });
  #session: ClientHttp2Session | undefined;
  #served = 0;
  readonly #sessions = new Set<ClientHttp2Session>();

  constructor(url: string, secrets: Secrets) {
    this.#url = new URL(url);
    this.#secrets = secrets;
  }

  async send(input: Input): Promise<Outcome> {
    const began = performance.now();
    const outcome = input.kind === "raw" ? await this.#raw(input) : await this.#call(input);
    return { ...outcome, ms: performance.now() - began };
  }

  close(): void {
    this.#agent.destroy();
    for (const session of this.#sessions) session.destroy();
  }

  async #call(input: CallInput): Promise<Omit<Outcome, "ms">> {
    const secret = secretOf(input.credential, this.#secrets);
    const query = input.tokenInQuery === true && secret !== undefined;
    const path = query
      ? `${input.path}${input.path.includes("?") ? "&" : "?"}access_token=${encodeURIComponent(secret)}`
      : input.path;
    const headers: Record<string, string> = { ...input.headers };
    if (secret !== undefined && !query) headers["authorization"] = `Bearer ${secret}`;
    if (input.http === "2") return this.#http2(input, path, headers);
    const outcome = await this.#http1(input, path, headers);
    // A connection that was kept may end just when it is used again.
    return outcome.why === "stale" ? this.#http1(input, path, headers) : outcome;
  }

  #http1(input: CallInput, path: string, headers: Record<string, string>): Promise<Omit<Outcome, "ms">> {
    return new Promise((resolve) => {
      const request = http1Request({
        agent: this.#agent,
        host: this.#url.hostname,
        port: this.#url.port,
        method: input.verb,
        path,
        headers,
      });
      const answer = new Answer(input, resolve, () => request.destroy());
      request.on("response", (response) => {
        answer.begin(response.statusCode ?? 0, response.headers);
        response.on("data", (chunk: Buffer) => answer.add(chunk));
        response.on("end", () => answer.end(response.trailers));
        response.on("error", () => answer.close("the answer broke off"));
      });
      request.on("error", (error: NodeJS.ErrnoException) => {
        const isStale = request.reusedSocket && error.code === "ECONNRESET" && !answer.hasBegun;
        answer.close(isStale ? "stale" : `${error.code ?? error.message}`);
      });
      write(request, input, answer);
    });
  }

  #http2(input: CallInput, path: string, headers: Record<string, string>): Promise<Omit<Outcome, "ms">> {
    return new Promise((resolve) => {
      const stream = this.#connection().request(
        { ":method": input.verb, ":path": path, ...headers },
        { endStream: false },
      );
      const answer = new Answer(input, resolve, () => stream.close(8));
      let trailers: IncomingHttpHeaders = {};
      stream.on("response", (fields) => answer.begin(Number(fields[":status"]), fields));
      stream.on("trailers", (fields) => (trailers = fields));
      stream.on("data", (chunk: Buffer) => answer.add(chunk));
      stream.on("end", () => answer.hasBegun && answer.end(trailers));
      stream.on("error", (error: NodeJS.ErrnoException) =>
        answer.close(`${error.code ?? ""} ${error.message}`),
      );
      stream.on("close", () => answer.close(`stream closed with ${stream.rstCode}`));
      write(stream, input, answer);
    });
  }

  #connection(): ClientHttp2Session {
    const current = this.#session;
    if (current !== undefined && !current.closed && !current.destroyed && this.#served++ < perConnection)
      return current;
    this.#served = 0;
    // Node's own 10 MB are too few for several requests of 1 MiB at once: it would break off others' answers.
    const session = http2Connect(this.#url.origin, { maxSessionMemory: 256 });
    session.setMaxListeners(100);
    this.#sessions.add(session);
    session.on("error", () => {}); // each of its calls is told
    session.on("close", () => this.#sessions.delete(session));
    this.#session = session;
    return session;
  }

  #raw({ parts }: RawInput): Promise<Omit<Outcome, "ms">> {
    return new Promise((resolve) => {
      const socket = tcpConnect({ host: this.#url.hostname, port: Number(this.#url.port), noDelay: true });
      const chunks: Buffer[] = [];
      const finish = (kind: Outcome["kind"], why?: string) => {
        clearTimeout(timer);
        socket.destroy();
        resolve({ kind, body: Buffer.concat(chunks), ...(why === undefined ? {} : { why }) });
      };
      // What is not complete may be waited for: that the server survives it is all there is to see.
      let timer = setTimeout(() => finish("quiet"), 60);
      socket.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        clearTimeout(timer);
        timer = setTimeout(() => finish("quiet"), 30);
      });
      socket.on("end", () => finish("closed"));
      socket.on("error", (error: NodeJS.ErrnoException) => finish("closed", error.code));
      socket.on("connect", () => {
        for (const part of parts) socket.write(part);
      });
    });
  }
}

interface Writable {
  write(bytes: Buffer): unknown;
  end(): unknown;
  flushHeaders?(): void;
}

function write(request: Writable, input: CallInput, answer: Answer): void {
  if (input.parts.length === 0 && input.finish !== "end") request.flushHeaders?.();
  for (const part of input.parts) request.write(part);
  if (input.finish === "end") request.end();
  // After what is written has gone out, so that the server has read some of it.
  else if (input.finish === "leave") setImmediate(() => answer.leave());
  else answer.linger();
}

/** What has come of an answer, and when enough of it has. */
class Answer {
  readonly #input: CallInput;
  readonly #resolve: (outcome: Omit<Outcome, "ms">) => void;
  readonly #abort: () => void;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  #head: { status: number; headers: IncomingHttpHeaders } | undefined;
  #timer: NodeJS.Timeout;
  #settled = false;

  constructor(input: CallInput, resolve: (outcome: Omit<Outcome, "ms">) => void, abort: () => void) {
    this.#input = input;
    this.#resolve = resolve;
    this.#abort = abort;
    this.#timer = setTimeout(() => this.#settle("hang", `nothing within ${boundMs} ms`), boundMs);
  }

  get hasBegun(): boolean {
    return this.#head !== undefined;
  }

  begin(status: number, headers: IncomingHttpHeaders): void {
    this.#head = { status, headers };
    this.linger();
  }

  add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes > mostBytes) this.leave();
    else this.linger();
  }

  end(trailers: IncomingHttpHeaders): void {
    this.#settle("answered", undefined, trailers);
  }

  close(why: string): void {
    this.#settle("closed", why);
  }

  /** Only what may go on is left after a pause: a live stream, or the answer to a request that is not complete. */
  linger(): void {
    clearTimeout(this.#timer);
    const isLive = mayGoOn(this.#input.path) && this.#head?.status === 200 && this.#bytes > 0;
    const isLeft = this.#input.finish !== "end" || isLive;
    this.#timer = setTimeout(
      () => (isLeft ? this.leave() : this.#settle("hang", "an answer without an end")),
      isLeft ? lingerMs : boundMs,
    );
  }

  leave(): void {
    this.#settle(this.#input.finish === "end" ? "live" : "left");
  }

  #settle(kind: Outcome["kind"], why?: string, trailers: IncomingHttpHeaders = {}): void {
    if (this.#settled) return;
    this.#settled = true;
    clearTimeout(this.#timer);
    if (kind !== "answered") this.#abort();
    this.#resolve({
      kind,
      ...(this.#head ?? {}),
      trailers,
      body: Buffer.concat(this.#chunks),
      ...(why === undefined ? {} : { why }),
    });
  }
}

function secretOf({ of, change }: Credential, secrets: Secrets): string | undefined {
  if (of === "none") return undefined;
  const secret = secrets[of];
  if (change === undefined) return secret;
  const at = change.at % (secret.length + 1);
  return secret.slice(0, at) + change.insert + secret.slice(at + change.remove);
}
