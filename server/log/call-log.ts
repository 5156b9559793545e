/**
 * One line for each call when it has ended, whatever protocol it came by. Everything in it is of a closed list, made here, or
 * checked: no path, query, header or message of the client's gets in, so no secret does.
 */
import type { Logger } from "pino";
import type { CallNotes } from "../core/call-notes.ts";

/** What machines ask all the time. */
const quiet: ReadonlySet<string> = new Set([
  "GET /healthz",
  "HEAD /healthz",
  "GET /readyz",
  "HEAD /readyz",
  "GET /metrics",
  "HEAD /metrics",
  "grpc.health.v1.Health/Check",
]);

export function logCall(log: Logger, notes: CallNotes): void {
  const level = quiet.has(notes.method) ? "debug" : "info";
  if (!log.isLevelEnabled(level)) return;
  const { caller, span, messagesIn, messagesOut } = notes;
  log[level](
    {
      requestId: notes.requestId,
      method: notes.method,
      protocol: notes.protocol,
      code: notes.code,
      ms: Math.round(notes.elapsedMs * 100) / 100,
      tenant: caller?.tenant,
      credential: caller?.credential ?? "none",
      keyId: caller?.keyId,
      peer: notes.peer,
      in: messagesIn > 0 ? messagesIn : undefined,
      out: messagesOut > 0 ? messagesOut : undefined,
      traceId: span?.traceId,
    },
    "call",
  );
}
