/**
 * What the requests that Connect serves need before it sees them, and its answers before they go out: repairs, codes that are
 * read off what is sent, and a bound on how long its clients take. Calls that are served directly do all that themselves
 * (rpc/direct-calls.ts), so that a reader does not hold what it never needs.
 */
import { notesOf, readCode } from "./call-notes.ts";
import { type EdgeLimits, edgeLimits } from "./edge-limits.ts";
import type { Handler } from "./port.ts";
import { repairAnswer } from "./request-repairs.ts";
import { limitAnswer, limitLastMessages } from "./slow-clients.ts";

export interface ConnectCallsOptions {
  /** Does a call give one message? undefined: there is no such RPC. */
  readonly kindOf: (path: string) => { readonly givesOne: boolean } | undefined;
  readonly limits?: EdgeLimits | undefined;
}

export function connectCalls(
  { kindOf, limits = edgeLimits }: ConnectCallsOptions,
  connect: Handler,
): Handler {
  return (request, response) => {
    repairAnswer(response);
    const notes = notesOf(request);
    if (notes !== undefined) readCode(response, notes);
    const kind = kindOf(request.url.split("?")[0] ?? "");
    if (kind === undefined || kind.givesOne) limitAnswer(response, limits.answerMs);
    else limitLastMessages(response, limits.streamAnswerMs);
    connect(request, response);
  };
}
