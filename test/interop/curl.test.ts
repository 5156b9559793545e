import { useServer } from "../support/server.ts";
import { findCurl } from "../support/tools.ts";
import { openCurl } from "./drivers/curl.ts";
import { curlSse } from "./drivers/curl-sse.ts";
import { describeClient } from "./matrix.ts";
import { readingBySse, sseDiffers } from "./sse.ts";

const server = useServer();
const { missing } = await findCurl();
const slugOf = (credential: string | undefined) => (credential === server.globex.key ? "globex" : "acme");

for (const http of ["1.1", "2"] as const) {
  describeClient(`curl, Connect, HTTP/${http}`, server, async () => openCurl(server.url, http), { missing });
  const open = async () =>
    readingBySse(
      openCurl(server.url, http),
      slugOf,
      curlSse(http, () => server.url),
    );
  describeClient(`curl, Server-Sent Events, HTTP/${http}`, server, open, { missing, differs: sseDiffers });
}
