/**
 * The floor that Node's `http` sets for Server-Sent Events: each event is made to bytes once, and they are written to every
 * response. Stores nothing, bounds nothing.
 */
import type { ServerResponse } from "node:http";
import { openHttp1Server } from "./http1-server.ts";
import { toRecord } from "./plain-event.ts";

export function open() {
  const readers = new Set<ServerResponse>();
  return openHttp1Server(
    (event, offset) => {
      const bytes = toRecord(event, offset);
      for (const reader of readers) reader.write(bytes);
    },
    (_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("event: open\ndata: {}\n\n");
      readers.add(response);
      response.on("close", () => readers.delete(response));
    },
  );
}
