/**
 * A page that shows a workflow tree live. The API key stays here: the page gets a stream token, which reads this tree
 * and nothing else, and asks for a new one when it expires.
 * Run: `node examples/browser-page.ts <workflow-id> [port]`, then open the address that it prints.
 */
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { client } from "./connect.ts";

const [workflowId = "", port = "3000"] = process.argv.slice(2);
const server = process.env["TRIBUTARY_URL"] ?? "http://127.0.0.1:8080";
const tenant = process.env["TRIBUTARY_TENANT"] ?? "dev";
const page = await readFile(new URL("./browser-page.html", import.meta.url));

// region token
/** The address of the stream for the next 15 minutes. In your service: ask first whether this visitor may see it. */
async function streamUrl(): Promise<string> {
  const { token } = await client.tokens.createStreamToken({ workflowIds: [workflowId], ttlSeconds: 900 });
  return `${server}/api/tenants/${tenant}/stream/workflows/${workflowId}/consolidated?access_token=${token}`;
}
// endregion

const web = createServer((request, response) => {
  if (request.url !== "/stream-url") {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(page);
    return;
  }
  streamUrl().then(
    (url) =>
      response
        .writeHead(200, { "content-type": "application/json", "cache-control": "no-store" })
        .end(JSON.stringify(url)),
    (error: Error) => response.writeHead(502).end(error.message),
  );
});
await streamUrl(); // a wrong id or key is said here, not in the page
web.listen(Number(port), "127.0.0.1", () => {
  console.log(`Open http://127.0.0.1:${(web.address() as AddressInfo).port}/`);
});
