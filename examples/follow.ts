import { createTributaryClient } from "tributary/client";

const client = createTributaryClient({
  baseUrl: process.env["TRIBUTARY_URL"] ?? "http://127.0.0.1:8080",
  credential: process.env["TRIBUTARY_API_KEY"] ?? "",
});

// Events of the workflow and of all its children, also those that start later; resumes by itself.
for await (const item of client.followTree(process.argv[2] ?? "")) {
  if (item.kind === "events") {
    for (const event of item.events)
      console.log(String(event.offset), event.taskExecutionId, event.payload.value ?? "");
  }
}
