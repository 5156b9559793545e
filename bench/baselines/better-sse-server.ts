/** better-sse as its documentation shows it: a session for each reader, and one channel that broadcasts. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { loadPackage } from "../needs.ts";
import { openHttp1Server } from "./http1-server.ts";
import { toPlain } from "./plain-event.ts";

/** What is used of it. */
interface Session {
  push(data: unknown, eventName: string): unknown;
}
interface BetterSse {
  createSession(request: IncomingMessage, response: ServerResponse): Promise<Session>;
  createChannel(): {
    register(session: Session): unknown;
    broadcast(data: unknown, eventName: string, options: { eventId: string }): unknown;
  };
}

export async function open() {
  const { createSession, createChannel } = await loadPackage<BetterSse>("better-sse");
  const channel = createChannel();
  return openHttp1Server(
    (event, offset) => channel.broadcast(toPlain(event, offset), "token", { eventId: String(offset) }),
    (request, response) => {
      createSession(request, response).then(
        (session) => {
          channel.register(session);
          session.push({}, "open");
        },
        (error: Error) => response.destroy(error),
      );
    },
  );
}
