/**
 * Is there a NATS that speaks? Looked at before the client connects, on a connection of its own: the client forgets, and
 * never closes, a connection whose server accepts and then says nothing, one more with each try.
 */
import { connect } from "node:net";

/** Throws for people: why not. The first thing that a NATS server says is INFO, also before TLS. */
export function assertGreets(host: string, port: number, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    const end = (error?: Error) => {
      socket.destroy();
      if (error === undefined) resolve();
      else reject(error);
    };
    socket.setTimeout(timeoutMs, () => end(new Error(`no answer within ${timeoutMs} ms`)));
    socket.once("data", (bytes) =>
      end(/^INFO /i.test(bytes.toString("latin1")) ? undefined : new Error("what answers is not NATS")),
    );
    socket.once("close", () => end(new Error("the connection was closed before a greeting")));
    socket.on("error", end);
  });
}
