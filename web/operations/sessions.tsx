/** Who writes: open sessions, and those whose worker is away, for as long as their lease lasts. */

import type { ReactNode } from "react";
import type { Session } from "../../gen/tributary/v1/admin_service_pb.ts";
import { SessionState, SessionStateSchema } from "../../gen/tributary/v1/session_pb.ts";
import { useNow } from "../ui/clock.ts";
import { formatCount, formatDuration, shortId } from "../ui/format.ts";
import { linkTo } from "../ui/route.ts";
import { scrollable } from "../ui/scrollable.ts";

const signs: Partial<Record<SessionState, string>> = {
  [SessionState.ACTIVE]: "●",
  [SessionState.DETACHED]: "◌",
  [SessionState.CLOSED]: "■",
  [SessionState.OVERLOADED]: "▲",
  [SessionState.BACKPRESSURE]: "▲",
};

export function Sessions({ sessions }: { readonly sessions: readonly Session[] }): ReactNode {
  const now = useNow();
  const open = sessions.filter(({ state }) => state !== SessionState.CLOSED);
  const detached = open.filter(({ state }) => state === SessionState.DETACHED).length;
  return (
    <section className="block" aria-labelledby="sessions">
      <h2 id="sessions">
        Sessions{" "}
        <small>{`${open.length} open, ${detached} of them detached; ${sessions.length - open.length} closed lately`}</small>
      </h2>
      {sessions.length === 0 ? (
        <p className="hint">None: workers open one with openSession of the SDK, or PublishTaskStream.</p>
      ) : (
        <section className="table" {...scrollable} aria-label="Table of sessions">
          <table>
            <thead>
              <tr>
                <th scope="col">State</th>
                <th scope="col">Session</th>
                <th scope="col">Writes to</th>
                <th scope="col">Settled</th>
                <th scope="col">Epoch</th>
                <th scope="col">Last heard</th>
                <th scope="col">Lease</th>
              </tr>
            </thead>
            <tbody>
              {sessions.map((session) => (
                <Row key={session.sessionId} session={session} now={now} />
              ))}
            </tbody>
          </table>
        </section>
      )}
    </section>
  );
}

function Row({ session, now }: { readonly session: Session; readonly now: number }): ReactNode {
  const { sessionId, workflowId, space, state, lastSequence, epoch, lastActivityMs, leaseExpiresMs } =
    session;
  const name = (SessionStateSchema.value[state]?.localName ?? "unknown").toLowerCase();
  const left = Number(leaseExpiresMs) - now;
  return (
    <tr className={`session-${name}`}>
      <td>
        <span aria-hidden="true">{signs[state] ?? "●"}</span> {name}
      </td>
      <td>
        <code>{shortId(sessionId)}</code>
      </td>
      <td>
        {workflowId === "" ? `memory ${space}` : <a href={linkTo.tree(workflowId)}>{shortId(workflowId)}</a>}
      </td>
      <td>{formatCount(Number(lastSequence))}</td>
      <td>{String(epoch)}</td>
      <td>{formatDuration(now - Number(lastActivityMs))} ago</td>
      <td>{state === SessionState.CLOSED ? "" : left > 0 ? `${formatDuration(left)} left` : "over"}</td>
    </tr>
  );
}
