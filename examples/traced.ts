/**
 * Writes an event in a trace, and reads it with a link to that. The trace comes from OpenTelemetry, if your program has set that up; without it
 * nothing is traced and all else is the same. Run: `node examples/traced.ts <workflow id>`
 */
import { trace } from "@opentelemetry/api";
import { createTributaryClient } from "tributary/client";

// region open
const client = createTributaryClient({
  baseUrl: process.env["TRIBUTARY_URL"] ?? "http://127.0.0.1:8080",
  credential: process.env["TRIBUTARY_API_KEY"] ?? "",
  traceparent() {
    const context = trace.getActiveSpan()?.spanContext();
    if (context === undefined) return undefined;
    const flags = context.traceFlags.toString(16).padStart(2, "0");
    return `00-${context.traceId}-${context.spanId}-${flags}`;
  },
});
// endregion

const workflowId = process.argv[2] ?? "";
const session = client.openSession({ workflowId });
const own = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
await session.write({ taskExecutionId: "traced", type: 1, traceparent: own });
await session.task("traced").completed();
await session.close();
await client.followTask(workflowId, "traced").forEach(({ traceparent }) => {
  console.log(traceparent === "" ? "not traced" : `written in ${traceparent}`);
});
client.close();
