/** A signal as every bus carries it. Checked here, so that what works on one bus works on all. */
import { limits } from "../core/limits.ts";
import type { SignalBody } from "../core/ports.ts";

const topicForm = /^[\w-]+(\.[\w-]+)*$/;

/** Throws RangeError for a mistake of the caller. */
export function toSignalText(topic: string, body: SignalBody): string {
  if (!topicForm.test(topic)) {
    throw new RangeError(`topic: must be words of A-Z a-z 0-9 _ - with dots between, found ${topic}`);
  }
  const text = JSON.stringify(body);
  const bytes = Buffer.byteLength(text);
  if (bytes > limits.signalBytes) {
    throw new RangeError(`signal of ${topic}: must not exceed ${limits.signalBytes} bytes, found ${bytes}`);
  }
  return text;
}
