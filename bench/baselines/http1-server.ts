/** What the servers over HTTP/1.1 share: a port for readers beside the one for publishers, and an end for both. */
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { TaskEvent } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { openPublishPort } from "./publish-port.ts";

export async function openHttp1Server(
  onEvent: (event: TaskEvent, offset: number) => void,
  onRequest: RequestListener,
  attach: (server: Server) => void = () => {},
) {
  const publishing = await openPublishPort(onEvent);
  const server = createServer({ requestTimeout: 0 }, onRequest);
  attach(server);
  server.listen(0, "127.0.0.1", 4096);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    methods: { url: async () => publishing.url, feedUrl: async () => `http://127.0.0.1:${port}` },
    close: () => {
      publishing.close();
      server.closeAllConnections();
      server.close();
    },
  };
}
