/** A model for the AI SDK that looks up the weather and then says a sentence, word by word, without a network. */
import { simulateReadableStream } from "ai";
import { MockLanguageModelV4 } from "ai/test";

type Stream = Awaited<ReturnType<MockLanguageModelV4["doStream"]>>["stream"];
type Part = Stream extends ReadableStream<infer P> ? P : never;

const usage = {
  inputTokens: { total: 10, noCache: 10, cacheRead: 0, cacheWrite: 0 },
  outputTokens: { total: 10, text: 10, reasoning: 0 },
};
const words = ["The", " sky", " over", " Rome", " is", " clear", "."];

export function fakeModel(): MockLanguageModelV4 {
  const steps: Part[][] = [
    [
      { type: "stream-start", warnings: [] },
      { type: "tool-call", toolCallId: "1", toolName: "weather", input: '{"place":"Rome"}' },
      { type: "finish", finishReason: { unified: "tool-calls", raw: undefined }, usage },
    ],
    [
      { type: "stream-start", warnings: [] },
      { type: "text-start", id: "1" },
      ...words.map((delta): Part => ({ type: "text-delta", id: "1", delta })),
      { type: "text-end", id: "1" },
      { type: "finish", finishReason: { unified: "stop", raw: undefined }, usage },
    ],
  ];
  return new MockLanguageModelV4({
    doStream: async () => ({
      stream: simulateReadableStream({ chunks: steps.shift() ?? [], chunkDelayInMs: 30 }),
    }),
  });
}
