/** The page of ai-stream.ts: shows the text as it comes. It resumes by itself; a new token is fetched when one expires. */
import { createTributaryClient, EventType } from "tributary/client";

const state = document.querySelector("#state") as HTMLElement;
const text = document.querySelector("#text") as HTMLElement;

// region page
const access = async () => (await fetch("access")).json();
const { baseUrl, workflowId, token } = await access();

let latest: string = token;
const client = createTributaryClient({
  baseUrl,
  credential: async ({ refused }) => {
    if (refused) latest = (await access()).token;
    return latest;
  },
});

const stream = client.followTask(workflowId, "assistant");
stream.onState((now) => {
  state.textContent = now;
});
for await (const { type, payload } of stream.values()) {
  if (type === EventType.TOKEN) text.append(String(payload.value));
  if (type === EventType.TOOL_CALL) text.append(`[asks: ${payload.value}]\n`);
}
state.textContent = "done";
// endregion
