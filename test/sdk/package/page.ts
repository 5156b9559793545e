/** What a user of the package writes for a page: the same import. */
import { createTributaryClient } from "tributary/client";

const query = new URLSearchParams(location.search);
const client = createTributaryClient({
  baseUrl: query.get("url") ?? "",
  credential: query.get("token") ?? "",
});
const shown = document.createElement("pre");
document.body.append(shown);
const ids = query.getAll("workflow");
await Promise.all(
  ids.map(async (id, at) => {
    for await (const event of client.followTree(id).values()) {
      if (event.payload.case === "text" && event.taskExecutionId !== "")
        shown.append(`${at}${event.payload.value} `);
    }
  }),
);
shown.append("ended");
