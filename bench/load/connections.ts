/**
 * Plain HTTP/2 connections to a server, and gRPC calls over them without a gRPC library: the loads must cost less than what
 * they measure. Windows are large, so that flow control is not what is measured.
 */
import { once } from "node:events";
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";

export interface Address {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

const windowBytes = { stream: 1024 * 1024, connection: 4 * 1024 * 1024 };

export class Connections {
  readonly #headers: Readonly<Record<string, string>>;
  readonly #sessions: ClientHttp2Session[] = [];
  #next = 0;

  private constructor(headers: Readonly<Record<string, string>>) {
    this.#headers = headers;
  }

  /** `largeWindows`: false leaves Node's own, as a plain client has them. */
  static async open(
    { url, headers }: Address,
    count: number,
    { largeWindows = true } = {},
  ): Promise<Connections> {
    const connections = new Connections(headers);
    for (let i = 0; i < count; i += 1) {
      const session = connect(
        url,
        largeWindows ? { settings: { initialWindowSize: windowBytes.stream } } : {},
      );
      session.on("error", () => {}); // its calls fail, and say so
      await once(session, "connect");
      if (largeWindows) session.setLocalWindowSize(windowBytes.connection);
      connections.#sessions.push(session);
    }
    return connections;
  }

  /** Calls go round the connections. */
  call(path: string): ClientHttp2Stream {
    this.#next = (this.#next + 1) % this.#sessions.length;
    const session = this.#sessions[this.#next] as ClientHttp2Session;
    return session.request({
      ...this.#headers,
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc+proto",
      te: "trailers",
    });
  }

  close(): void {
    for (const session of this.#sessions) session.destroy();
  }
}

/** Resolves when the call ended well; rejects with the status and message of the server. */
export function ended(stream: ClientHttp2Stream): Promise<void> {
  return new Promise((resolve, reject) => {
    let status: string | undefined;
    let message = "";
    const look = (headers: Record<string, unknown>) => {
      if (headers["grpc-status"] === undefined) return;
      status = String(headers["grpc-status"]);
      message = decodeURIComponent(String(headers["grpc-message"] ?? ""));
    };
    stream.on("response", look);
    stream.on("trailers", look);
    stream.on("error", reject);
    stream.on("close", () => {
      if (status === "0") resolve();
      else reject(new Error(`the call ended with grpc-status ${status ?? "none"}: ${message}`));
    });
  });
}
