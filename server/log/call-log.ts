/**
 * One line for each call when it has ended, whatever protocol it came by. Everything in it is of a closed list, made here, or
 * checked: no path, query, header or message of the client's gets in, so no secret does.
 *
 * Who calls what from where with which outcome repeats itself: that part of a line is made once, as bindings of a child of the
 * logger, which halves what a line costs.
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

/** Beginnings that are kept, of some 300 bytes each; then they are made anew. */
const mostKept = 1000;

export function createCallLog(log: Logger): (notes: CallNotes) => void {
  const kept = new Map<string, Logger>();
  const begun = ({ method, protocol, code, caller, peer }: CallNotes): Logger => {
    const { tenant, credential = "none", keyId } = caller ?? {};
    const key = `${method} ${protocol} ${code} ${tenant} ${credential} ${keyId} ${peer}`;
    let child = kept.get(key);
    if (child === undefined) {
      if (kept.size >= mostKept) kept.clear();
      child = log.child({ method, protocol, code, tenant, credential, keyId, peer });
      kept.set(key, child);
    }
    return child;
  };
  return (notes) => {
    const level = quiet.has(notes.method) ? "debug" : "info";
    if (!log.isLevelEnabled(level)) return;
    const { span, messagesIn, messagesOut } = notes;
    begun(notes)[level](
      {
        requestId: notes.requestId,
        ms: Math.round(notes.elapsedMs * 100) / 100,
        in: messagesIn > 0 ? messagesIn : undefined,
        out: messagesOut > 0 ? messagesOut : undefined,
        traceId: span?.traceId,
      },
      "call",
    );
  };
}
