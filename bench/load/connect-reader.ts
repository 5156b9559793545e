/** Reads from the beginning with the client of this project (connect-node's gRPC transport): what a real consumer sees. */
import { createTributaryClient } from "../../client/index.ts";
import { nowUs } from "../measure/clock.ts";

export async function open({ url, apiKey }: { url: string; apiKey: string }) {
  async function readAll(workflowId: string, expected: number, stop: AbortController) {
    const client = createTributaryClient({ baseUrl: url, credential: apiKey });
    let events = 0;
    let messages = 0;
    try {
      const options = { start: { case: "afterOffset", value: 0n } } as const;
      const call = client.streams.streamWorkflowConsolidated(
        { workflowId, options },
        { signal: stop.signal },
      );
      for await (const { message } of call) {
        if (message?.message.case !== "events") continue;
        messages += 1;
        events += message.message.value.events.length;
        if (events >= expected) break;
      }
    } catch (error) {
      if (!stop.signal.aborted) throw error;
    } finally {
      client.close();
    }
    return { events, messages };
  }

  async function replay(workflowId: string, readers: number, expected: number, limitMs: number) {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), limitMs);
    const began = nowUs();
    const read = await Promise.all(
      Array.from({ length: readers }, () => readAll(workflowId, expected, stop)),
    );
    clearTimeout(timer);
    const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
    return {
      events: sum(read.map(({ events }) => events)),
      messages: sum(read.map(({ messages }) => messages)),
      seconds: (nowUs() - began) / 1e6,
    };
  }

  return { methods: { replay } };
}
