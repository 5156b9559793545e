/**
 * The lines of a stream, in batches as they come in: what is there goes at once, so a slow writer is seen live and a fast
 * one costs few messages. A batch fits into one PublishTaskEvents message. The next is read when the last was taken.
 */
const mostLines = 1000;
const mostBytes = 1024 * 1024;

export async function* readLines(input: AsyncIterable<Uint8Array | string>): AsyncGenerator<string[]> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of input) {
    const text = rest + (typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true }));
    const lines = text.split("\n");
    rest = lines.pop() ?? "";
    yield* batches(lines);
  }
  rest += decoder.decode();
  if (rest !== "") yield [withoutReturn(rest)];
}

function* batches(lines: readonly string[]): Generator<string[]> {
  let batch: string[] = [];
  let bytes = 0;
  for (const line of lines) {
    const size = Buffer.byteLength(line);
    if (batch.length > 0 && (batch.length === mostLines || bytes + size > mostBytes)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(withoutReturn(line));
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}

const withoutReturn = (line: string): string => (line.endsWith("\r") ? line.slice(0, -1) : line);
