/**
 * An event as it lies in a row of a page. Only its offset is read at once; the rest is when somebody asks, and a reader's message
 * is made of the bytes (`layOut`), so that most events of a replay never become strings.
 */
import {
  type BinaryRow,
  boolean,
  columnAfter,
  columnsAt,
  content,
  int2,
  int8,
  isNull,
  type RowBytes,
  SameText,
  sizeOf,
  utf8,
  uuid,
} from "../binary-row.ts";

/**
 * The columns, in their order: first those that are never null, at places that are known. Two more follow: whether the payload is
 * text, null where there is none; and the payload, null also where it was withheld.
 */
export const storedColumns =
  'type, "offset", sequence, timestamp_ms, recorded_ms, workflow_id, task_execution_id, producer_id, trace_context';

const int2Bytes = 4 + 2;
const int8Bytes = 4 + 8;
const typeAt = columnsAt;
const offsetAt = typeAt + int2Bytes;
const sequenceAt = offsetAt + int8Bytes;
const timestampAt = sequenceAt + int8Bytes;
const recordedAt = timestampAt + int8Bytes;
const workflowAt = recordedAt + int8Bytes;

/** Where its parts lie: `EventLayout` of the core says more. */
export interface RowLayout {
  bytes: Buffer;
  view: DataView;
  typeAt: number;
  offsetAt: number;
  sequenceAt: number;
  timestampAt: number;
  recordedAt: number;
  workflowAt: number;
  taskAt: number;
  taskSize: number;
  producerAt: number;
  producerSize: number;
  isTraced: boolean;
  payloadIsText: boolean;
  payloadAt: number;
  payloadSize: number;
}

const workflowIds = new SameText(uuid);
const taskExecutionIds = new SameText(utf8);
const producerIds = new SameText(utf8);

export class StoredRow {
  readonly offset: number;
  readonly #of: RowBytes;
  readonly #start: number;

  constructor({ of, start }: BinaryRow) {
    this.offset = int8(of, start + offsetAt);
    this.#of = of;
    this.#start = start;
  }

  get type(): number {
    return int2(this.#of, this.#start + typeAt);
  }

  get sequence(): number {
    return int8(this.#of, this.#start + sequenceAt);
  }

  get timestampMs(): number {
    return int8(this.#of, this.#start + timestampAt);
  }

  get recordedMs(): number {
    return int8(this.#of, this.#start + recordedAt);
  }

  /** "": none. */
  get workflowId(): string {
    const at = this.#start + workflowAt;
    return isNull(this.#of, at) ? "" : workflowIds.of(this.#of, at);
  }

  get taskExecutionId(): string {
    return taskExecutionIds.of(this.#of, this.#column(1));
  }

  get producerId(): string {
    return producerIds.of(this.#of, this.#column(2));
  }

  /** Trace context of its writer, as W3C has it, from 16 bytes of trace id, 8 of span id, 1 of flags; undefined: none. */
  get traceparent(): string | undefined {
    const at = this.#column(3);
    if (isNull(this.#of, at)) return undefined;
    const hex = content(this.#of, at).toString("hex");
    return `00-${hex.slice(0, 32)}-${hex.slice(32, 48)}-${hex.slice(48)}`;
  }

  /** undefined: none was given. Bytes are a copy. */
  get payload(): string | Buffer | undefined {
    const isTextAt = this.#column(4);
    if (isNull(this.#of, isTextAt)) return undefined;
    const payload = content(this.#of, columnAfter(this.#of, isTextAt));
    return boolean(this.#of, isTextAt) ? utf8(payload) : Buffer.from(payload);
  }

  /** There is a payload, but it is not here. */
  get isWithheld(): boolean {
    const isTextAt = this.#column(4);
    return !isNull(this.#of, isTextAt) && isNull(this.#of, columnAfter(this.#of, isTextAt));
  }

  /** A number behind the payload, which a statement may add. */
  get further(): number {
    return int8(this.#of, this.#column(6));
  }

  layOut(into: RowLayout): void {
    const of = this.#of;
    const start = this.#start;
    into.bytes = of.bytes;
    into.view = of.view;
    into.typeAt = start + typeAt + 4;
    into.offsetAt = start + offsetAt + 4;
    into.sequenceAt = start + sequenceAt + 4;
    into.timestampAt = start + timestampAt + 4;
    into.recordedAt = start + recordedAt + 4;
    let at = start + workflowAt;
    into.workflowAt = isNull(of, at) ? -1 : at + 4;
    at = columnAfter(of, at);
    into.taskAt = at + 4;
    into.taskSize = sizeOf(of, at);
    at = columnAfter(of, at);
    into.producerAt = at + 4;
    into.producerSize = sizeOf(of, at);
    at = columnAfter(of, at);
    into.isTraced = !isNull(of, at);
    at = columnAfter(of, at);
    into.payloadIsText = !isNull(of, at) && boolean(of, at);
    at = columnAfter(of, at);
    into.payloadAt = at + 4;
    into.payloadSize = sizeOf(of, at);
  }

  /** The one so many columns behind the workflow. */
  #column(behind: number): number {
    let at = this.#start + workflowAt;
    for (let n = behind; n > 0; n--) at = columnAfter(this.#of, at);
    return at;
  }
}
