/** A program that leaves a stream with unread data, and has nothing more to do. Arguments: url, key, workflow. */
import { createTributaryClient } from "../../client/index.ts";

const [baseUrl = "", credential = "", workflowId = ""] = process.argv.slice(2);
for await (const item of createTributaryClient({ baseUrl, credential }).followTree(workflowId)) {
  if (item.kind === "opened") break;
}
console.log("left");
