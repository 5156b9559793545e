/** socket.io with its default settings over WebSocket alone: all readers in one room, each event emitted to the room. */
import type { Server } from "node:http";
import { loadPackage } from "../needs.ts";
import { openHttp1Server } from "./http1-server.ts";
import { toPlain } from "./plain-event.ts";

/** What is used of it. */
interface Socket {
  join(room: string): unknown;
}
interface SocketServer {
  on(name: "connection", onSocket: (socket: Socket) => void): unknown;
  to(room: string): { emit(name: string, value: unknown): unknown };
  close(): unknown;
}
interface SocketIo {
  readonly Server: new (server: Server, options: Readonly<Record<string, unknown>>) => SocketServer;
}

const room = "readers";

export async function open() {
  const { Server } = await loadPackage<SocketIo>("socket.io");
  let io: SocketServer | undefined;
  const server = await openHttp1Server(
    (event, offset) => io?.to(room).emit("token", toPlain(event, offset)),
    (_, response) => response.writeHead(404).end(),
    (http) => {
      io = new Server(http, { transports: ["websocket"], serveClient: false });
      io.on("connection", (socket) => socket.join(room));
    },
  );
  return {
    ...server,
    close: () => {
      void io?.close();
      server.close();
    },
  };
}
