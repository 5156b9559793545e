/**
 * Handlers that answer always. Where Connect cannot write an error into gRPC's trailers it gives up the call without any answer,
 * and the caller waits for ever. That happens to texts with half a surrogate pair (`"\ud800"`), which its errors about bad
 * JSON quote; those of this server are made well-formed (error-mapping.ts).
 */
import { randomUUID } from "node:crypto";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import type { LogBug } from "./error-mapping.ts";

/** After all services were registered. */
export function answerAlways(router: ConnectRouter, logBug: LogBug): void {
  for (const [i, handler] of router.handlers.entries()) router.handlers[i] = answering(handler, logBug);
}

function answering(handler: UniversalHandler, logBug: LogBug): UniversalHandler {
  const handle = async (request: Parameters<UniversalHandler>[0]): Promise<UniversalServerResponse> => {
    try {
      return await handler(request);
    } catch (error) {
      const type = request.header.get("content-type") ?? "";
      // The client has left, which is no error; or the protocol has no trailers.
      if (request.signal.aborted || !type.startsWith("application/grpc")) throw error;
      // An answer without messages has its trailers for headers.
      return {
        status: 200,
        header: setTrailerStatus(new Headers({ "content-type": type }), toAnswer(error, logBug)),
      };
    }
  };
  return Object.assign(handle, handler);
}

function toAnswer(error: unknown, logBug: LogBug): ConnectError {
  if (error instanceof URIError) {
    return new ConnectError(
      "the message cannot be parsed: it holds half a surrogate pair",
      Code.InvalidArgument,
    );
  }
  const errorId = randomUUID();
  logBug(errorId, error);
  return new ConnectError(`internal error; the server's log has it under ${errorId}`, Code.Internal);
}
