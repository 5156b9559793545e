/**
 * Counts the events in the bytes of a StreamWorkflowConsolidatedResponse by walking over tags and lengths, so that the
 * reader of a benchmark costs a fraction of what is measured. A real client decodes the events; what that costs is
 * measured apart (load/connect-reader.ts).
 */

/** Tags of length-delimited fields: response.message, message.events, batch.events. */
const response = (1 << 3) | 2;
const events = (2 << 3) | 2;
const event = (1 << 3) | 2;

let at = 0;

function readVarint(bytes: Buffer): number {
  let value = 0;
  for (let shift = 1; ; shift *= 128) {
    const byte = bytes[at++] ?? 0;
    value += (byte & 127) * shift;
    if (byte < 128) return value;
  }
}

/** Calls for each event with where its bytes are; returns how many there are, 0 for every other kind of message. */
export function countEvents(
  bytes: Buffer,
  onEvent?: (bytes: Buffer, start: number, end: number) => void,
): number {
  at = 0;
  if (readVarint(bytes) !== response) return 0;
  readVarint(bytes);
  if (readVarint(bytes) !== events) return 0;
  const end = readVarint(bytes) + at;
  let count = 0;
  while (at < end) {
    if (readVarint(bytes) !== event) throw new Error("not a batch of events");
    const size = readVarint(bytes);
    const start = at;
    at += size;
    onEvent?.(bytes, start, at);
    count += 1;
  }
  return count;
}
