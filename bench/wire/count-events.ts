/**
 * Counts the events in the bytes of an answer of StreamWorkflow, StreamWorkflowConsolidated or Multiplex by walking over
 * tags and lengths, so that the reader of a benchmark costs a fraction of what is measured. A real client decodes the
 * events; what that costs is measured apart (load/connect-reader.ts).
 */
import { Cursor, lengthTag } from "./cursor.ts";

/** In the answers; Multiplex has the label before. */
const message = { plain: lengthTag(1), labelled: lengthTag(2) };
const label = lengthTag(1);
/** StreamMessage.events, EventBatch.events. */
const events = lengthTag(2);
const event = lengthTag(1);

const cursor = new Cursor();

/** Calls for each event with where its bytes are; returns how many there are, 0 for every other kind of message. */
export function countEvents(
  bytes: Buffer,
  onEvent?: (bytes: Buffer, start: number, end: number) => void,
  kind: keyof typeof message = "plain",
): number {
  cursor.open(bytes);
  let tag = cursor.number();
  if (kind === "labelled" && tag === label) {
    cursor.skip(tag);
    tag = cursor.number();
  }
  if (tag !== message[kind]) return 0;
  cursor.number();
  if (cursor.number() !== events) return 0;
  const size = cursor.number();
  const end = cursor.at + size;
  let count = 0;
  while (cursor.at < end) {
    if (cursor.number() !== event) throw new Error("not a batch of events");
    const bytesOfOne = cursor.number();
    const start = cursor.at;
    cursor.at += bytesOfOne;
    onEvent?.(bytes, start, cursor.at);
    count += 1;
  }
  return count;
}
