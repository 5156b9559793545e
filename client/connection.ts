/**
 * The HTTP/2 connection of the client. A call that is broken off is over at once: stock connect-node closes its stream, but
 * a stream with unread data emits no "close" until somebody reads it, which nobody will, so the connection would count it
 * as open for ever and keep the process alive.
 */
import type { ClientHttp2Stream } from "node:http2";
import { Http2SessionManager } from "@connectrpc/connect-node";

export class Connection extends Http2SessionManager {
  override async request(...args: Parameters<Http2SessionManager["request"]>): Promise<ClientHttp2Stream> {
    const stream = await super.request(...args);
    const close = stream.close.bind(stream);
    stream.close = (code, callback) => {
      close(code, callback);
      // The reset is on its way; with a code there is nothing more to wait for.
      if (code !== undefined && code !== 0) stream.destroy();
    };
    return stream;
  }
}
