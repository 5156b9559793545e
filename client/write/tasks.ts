/** What a worker says of one task, with the payloads that readers expect. */
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import { type TraceSource, traceOf } from "../trace.ts";
import type { SessionKind, TaskEntry } from "./kinds.ts";
import type { Written } from "./outbox.ts";
import { Session, type SessionOptions } from "./session.ts";

export interface TaskSessionOptions extends SessionOptions {
  /** The trace that each entry belongs to, unless it says so itself; a function is asked when it is written. Default: the client's. */
  readonly traceparent?: TraceSource | undefined;
}

export class TaskWriter {
  readonly taskExecutionId: string;
  readonly #workflowId: string;
  readonly #write: (entry: TaskEntry) => Promise<Written>;

  constructor(taskExecutionId: string, workflowId: string, write: (entry: TaskEntry) => Promise<Written>) {
    this.taskExecutionId = taskExecutionId;
    this.#workflowId = workflowId;
    this.#write = write;
  }

  /** The task began; `value` as JSON. */
  started(value?: unknown): Promise<Written> {
    return this.#json(EventType.STARTED, value);
  }

  /** A piece of generated text. */
  token(text: string): Promise<Written> {
    return this.#say(EventType.TOKEN, text);
  }

  /** Each piece of a text as it comes, at the pace of the server. */
  async tokens(texts: AsyncIterable<string> | Iterable<string>): Promise<void> {
    for await (const text of texts) await this.token(text);
  }

  /** 0–1. */
  progress(progress: number, details?: string): Promise<Written> {
    return this.#json(EventType.PROGRESS, { progress, details });
  }

  /** Bytes as they are, anything else as JSON. */
  data(value: unknown): Promise<Written> {
    return value instanceof Uint8Array ? this.#say(EventType.DATA, value) : this.#json(EventType.DATA, value);
  }

  /** Something went wrong and the task goes on. */
  error(message: string, code?: string): Promise<Written> {
    return this.#json(EventType.ERROR, { message, code });
  }

  /** A complete output: text as it is, anything else as JSON. */
  output(value: unknown): Promise<Written> {
    return typeof value === "string"
      ? this.#say(EventType.OUTPUT, value)
      : this.#json(EventType.OUTPUT, value);
  }

  toolCall(call: {
    readonly id: string;
    readonly name: string;
    readonly arguments: unknown;
  }): Promise<Written> {
    return this.#json(EventType.TOOL_CALL, call);
  }

  toolResult(result: {
    readonly id: string;
    readonly name: string;
    readonly result: unknown;
  }): Promise<Written> {
    return this.#json(EventType.TOOL_RESULT, result);
  }

  /** The task succeeded: it takes nothing more. `value` as JSON. */
  completed(value?: unknown): Promise<Written> {
    return this.#json(EventType.COMPLETED, value);
  }

  /** The task failed: it takes nothing more. */
  failed(message: string, code?: string): Promise<Written> {
    return this.#json(EventType.FAILED, { message, code });
  }

  /** The task was cancelled: it takes nothing more. */
  cancelled(value?: unknown): Promise<Written> {
    return this.#json(EventType.CANCELLED, value);
  }

  #json(type: EventType, value: unknown): Promise<Written> {
    return this.#say(type, value === undefined ? undefined : JSON.stringify(value));
  }

  #say(type: EventType, value: string | Uint8Array | undefined): Promise<Written> {
    return this.#write({
      workflowId: this.#workflowId,
      taskExecutionId: this.taskExecutionId,
      type,
      timestampMs: BigInt(Date.now()),
      payload: toPayload(value),
    });
  }
}

function toPayload(value: string | Uint8Array | undefined): NonNullable<TaskEntry["payload"]> {
  if (value === undefined) return { case: undefined };
  // A view of a buffer of its own: what is written later does not change what waits here.
  return typeof value === "string" ? { case: "text", value } : { case: "binary", value: value.slice() };
}

/** A session for events of the tasks of one tree. */
export class TaskSession extends Session<TaskEntry> {
  readonly #traceparent: TraceSource | undefined;

  constructor(
    kind: SessionKind<TaskEntry>,
    deps: ConstructorParameters<typeof Session<TaskEntry>>[1],
    options: TaskSessionOptions,
  ) {
    super(kind, deps, options);
    this.#traceparent = options.traceparent;
  }

  override write(entry: TaskEntry, options: { readonly signal?: AbortSignal } = {}): Promise<Written> {
    return super.write(this.#traced(entry), options);
  }

  override tryWrite(entry: TaskEntry): Written | "full" {
    return super.tryWrite(this.#traced(entry));
  }

  /** With the trace of now: it may be sent much later. */
  #traced(entry: TaskEntry): TaskEntry {
    const traceparent = entry.traceparent ? undefined : traceOf(this.#traceparent);
    return traceparent === undefined ? entry : { ...entry, traceparent };
  }

  /** Of the session's workflow, or of another one of its tree. */
  task(taskExecutionId: string, workflowId = ""): TaskWriter {
    return new TaskWriter(taskExecutionId, workflowId, (entry) => this.write(entry));
  }
}
