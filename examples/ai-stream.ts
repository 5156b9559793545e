/**
 * The answer of a model, live in a browser: what the AI SDK streams goes into a session, and a page follows it with a stream
 * token. The model here is a fake that needs no network; put a real one in its place.
 * Run: `node examples/ai-stream.ts [port]`, then open the address that it prints.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { isStepCount, streamText, tool } from "ai";
import { build } from "esbuild";
import { WorkflowStatus } from "tributary/client";
import { z } from "zod";
import { client } from "./connect.ts";
import { fakeModel } from "./fake-model.ts";

const [port = "3000"] = process.argv.slice(2);
const { workflow } = await client.workflows.createWorkflow({ name: "a question" });
const workflowId = workflow?.workflowId ?? "";

// region pipe
/** Each part of the answer becomes an event, at the pace of the server. Cancelling the workflow stops the model. */
async function answer(prompt: string): Promise<void> {
  await using session = client.openSession({ workflowId });
  const task = session.task("assistant");
  await task.started({ prompt });
  const { fullStream } = streamText({
    model: fakeModel(),
    prompt,
    tools: { weather },
    stopWhen: isStepCount(3),
    abortSignal: session.cancelled,
  });
  for await (const part of fullStream) {
    if (part.type === "text-delta") await task.token(part.text);
    else if (part.type === "tool-call") {
      await task.toolCall({ id: part.toolCallId, name: part.toolName, arguments: part.input });
    } else if (part.type === "tool-result") {
      await task.toolResult({ id: part.toolCallId, name: part.toolName, result: part.output });
    } else if (part.type === "error") await task.error(String(part.error));
  }
  await (session.cancelled.aborted ? task.cancelled() : task.completed());
}
// endregion

const weather = tool({
  description: "The weather at a place",
  inputSchema: z.object({ place: z.string() }),
  execute: async ({ place }) => ({ place, sky: "clear" }),
});

// region serve
/** What the page needs: where to read, and a token that reads this workflow for 15 minutes. */
async function access() {
  const { token } = await client.tokens.createStreamToken({ workflowIds: [workflowId], ttlSeconds: 900 });
  return { baseUrl: process.env["TRIBUTARY_URL"] ?? "http://127.0.0.1:8080", token, workflowId };
}
// endregion

const { outputFiles } = await build({
  entryPoints: [fileURLToPath(new URL("./ai-page.ts", import.meta.url))],
  bundle: true,
  write: false,
  format: "esm",
  platform: "browser",
});
const page = `<!doctype html><meta charset="utf-8"><title>Tributary</title>
<p id="state"></p><pre id="text" style="white-space: pre-wrap"></pre>
<script type="module">${outputFiles[0]?.text}</script>`;

const web = createServer((request, response) => {
  if (request.url !== "/access") {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(page);
    return;
  }
  access().then(
    (body) =>
      response
        .writeHead(200, { "content-type": "application/json", "cache-control": "no-store" })
        .end(JSON.stringify(body)),
    (error: Error) => response.writeHead(502).end(error.message),
  );
});
web.listen(Number(port), "127.0.0.1", () => {
  console.log(`Open http://127.0.0.1:${(web.address() as AddressInfo).port}/`);
});

await answer("Write about Rome.");
await client.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
console.log("answered");
