/**
 * A worker that outlives its own crashes and the server's: each line of a file becomes an event, once and in order, and
 * then the task is completed. It speaks the protocol of sessions by hand; the SDK of a later release will do this.
 * Run: `node examples/worker.ts <workflow id> <file of lines> <file for its state>`
 */
import { readFile, rename, writeFile } from "node:fs/promises";
import {
  backoffMs,
  Code,
  ConnectError,
  EventType,
  isRetryable,
  type MessageInitShape,
  type PublishTaskStreamRequestSchema,
  RejectionCode,
  retryAfterMs,
  type SessionClosed,
  SessionClosedReason,
  SessionClosedReasonSchema,
  SessionEndedSchema,
  type SessionRejected,
  sleep,
} from "../client/index.ts";
import { client } from "./connect.ts";

const [workflowId = "", sourceFile = "", stateFile = ""] = process.argv.slice(2);
const lines = (await readFile(sourceFile, "utf8")).trimEnd().split("\n");
const bytesBefore = [0];
for (const line of lines) bytesBefore.push((bytesBefore.at(-1) ?? 0) + Buffer.byteLength(line));

// region state
/** What outlives the process: entry n of this session is line `before + n`. How far it came, the server knows. */
let state = { sessionId: "", before: 0 };
const kept = await readFile(stateFile, "utf8").catch(() => undefined);
if (kept !== undefined) state = JSON.parse(kept);

/** Whole or not at all: by a rename. */
async function save(next: typeof state): Promise<void> {
  await writeFile(`${stateFile}.new`, JSON.stringify(next));
  await rename(`${stateFile}.new`, stateFile);
  state = next;
}
// endregion

/** So many lines are said, then the outcome. A request to stop changes both. */
let end = lines.length;
let outcome: EventType = EventType.COMPLETED;
let failures = 0;

function toEvent(number: number) {
  const at = state.before + number - 1;
  if (at >= end) return { taskExecutionId: "worker", type: outcome };
  const payload = { case: "text" as const, value: lines[at] ?? "" };
  return { taskExecutionId: "worker", type: EventType.TOKEN, payload };
}

/** One connection, until the last word of the server; undefined: it broke without one. */
async function connect(): Promise<SessionClosed | undefined> {
  const call = new AbortController();
  let news = new AbortController(); // aborted when there is some
  let next = 0; // the number to send next; 0: the session is not open yet
  let window = { settled: 0, entries: 0, bytes: 0 };
  let notBeforeMs = 0;
  let closing = false;
  let over = false; // the task takes nothing more

  // region say
  const isSaid = (number: number) => over || state.before + number > end + 1;
  const bytes = (from: number, to: number) => {
    const upTo = (number: number) => bytesBefore[Math.min(state.before + number, lines.length)] ?? 0;
    return upTo(to) - upTo(from - 1);
  };

  /** From the next one on, what batch and credit have room for; a large one may stand alone. */
  function takeBatch() {
    const { settled, entries, bytes: most } = window;
    const firstSequence = BigInt(next);
    const events = [];
    for (const first = next; events.length < 100 && next <= settled + entries && !isSaid(next); next += 1) {
      if (next > first && bytes(first, next) > 1024 * 1024) break;
      if (next > settled + 1 && bytes(settled + 1, next) > most) break;
      events.push(toEvent(next));
    }
    return { firstSequence, events };
  }

  async function* requests(): AsyncGenerator<MessageInitShape<typeof PublishTaskStreamRequestSchema>> {
    yield { operation: { case: "init", value: { workflowId, session: { sessionId: state.sessionId } } } };
    while (!call.signal.aborted) {
      const waitMs = notBeforeMs - Date.now();
      if (next > 0 && waitMs <= 0 && !closing) {
        const batch = takeBatch();
        if (batch.events.length > 0) {
          yield { operation: { case: "batch", value: batch } };
          continue;
        }
        closing = isSaid(next);
        const close = { drain: true, lastSequence: BigInt(next - 1) };
        if (closing) yield { operation: { case: "close", value: close } };
      }
      const { signal } = news;
      await sleep(waitMs > 0 ? Math.min(waitMs, 15_000) : 15_000, signal);
      if (!signal.aborted) yield { operation: { case: "heartbeat", value: {} } };
    }
  }
  // endregion

  // region rejected
  function onRejected(rejected: SessionRejected): void {
    const { code, message } = rejected;
    if (rejected.final) {
      // It will never be stored, its number is used up, and what was sent after it stands.
      console.log(`line ${state.before + Number(rejected.sequence)} was refused: ${message}`);
      over ||= code === RejectionCode.TASK_CLOSED || code === RejectionCode.WORKFLOW_CLOSED;
    } else if (code === RejectionCode.BAD_MESSAGE) {
      throw new Error(message); // a mistake of this program
    } else if (code !== RejectionCode.SEQUENCE_DUPLICATE) {
      // Go back: what was sent from the expected number on has been dropped.
      next = Number(rejected.expectedSequence);
      closing = false;
      notBeforeMs = Date.now() + rejected.retryAfterMs; // OVERLOADED tells how long
      if (code === RejectionCode.CREDIT_EXCEEDED) window.entries = 0; // until the next ack
    }
  }
  // endregion

  try {
    // region hear
    for await (const { reply } of client.tasks.publishTaskStream(requests(), { signal: call.signal })) {
      const message = reply?.message;
      switch (message?.case) {
        case "initAck": {
          const { sessionId, lastSequence, credit, creditBytes, rejected } = message.value;
          // Before an entry is sent: afterwards nobody would know which session has it.
          if (sessionId !== state.sessionId) await save({ ...state, sessionId });
          rejected.forEach(onRejected);
          window = { settled: Number(lastSequence), entries: credit, bytes: Number(creditBytes) };
          next = window.settled + 1;
          failures = 0;
          console.log(`session ${sessionId} goes on after line ${state.before + window.settled}`);
          break;
        }
        case "ack": {
          // DURABLE, as init asked for nothing else: stored, or refused for good.
          const { upToSequence, credit, creditBytes } = message.value;
          window = { settled: Number(upToSequence), entries: credit, bytes: Number(creditBytes) };
          break;
        }
        case "rejected":
          onRejected(message.value);
          break;
        case "cancelRequested":
          if (state.before + next > end) break; // all is said already
          console.log(`asked to stop: ${message.value.reason}`);
          end = state.before + next - 1; // what was sent is said
          outcome = EventType.CANCELLED;
          break;
        case "closed":
          return message.value;
        default: // status: acks and rejections say what counts; heartbeats: the connection checks itself
          continue;
      }
      news.abort();
      news = new AbortController();
    }
    // endregion
    return undefined;
  } finally {
    call.abort(); // to leave the loop does not end the call
    news.abort();
  }
}

// region again
/** Comes back until all is said. */
async function work(): Promise<void> {
  while (state.before <= end) {
    const closed = await connect().catch(onFailure);
    switch (closed?.reason) {
      case SessionClosedReason.CLIENT:
        console.log(`all is said, up to offset ${closed.lastOffset}`);
        return save({ sessionId: "", before: state.before + Number(closed.finalSequence) });
      case undefined: // the connection broke
      case SessionClosedReason.DETACHED:
      case SessionClosedReason.DRAINING:
      case SessionClosedReason.LEASE_EXPIRED:
        failures += 1;
        await sleep(closed?.reconnectAfterMs || backoffMs(failures, Math.random));
        break;
      default: // SUPERSEDED, ADMIN, REVOKED, CREDENTIAL_EXPIRED: coming back is not for this process to decide
        throw new Error(
          `the session ended: ${SessionClosedReasonSchema.value[closed?.reason ?? 0]?.localName}`,
        );
    }
  }
}

/** What heals is tried again, the rest is thrown. */
async function onFailure(error: unknown): Promise<undefined> {
  if (!(error instanceof ConnectError)) throw error;
  const [ended] = error.findDetails(SessionEndedSchema);
  if (ended !== undefined) {
    // Away for longer than the lease: what is settled stays so, the rest goes into a new session.
    await save({ sessionId: "", before: state.before + Number(ended.lastSequence) });
  } else if (error.code === Code.NotFound && state.sessionId !== "") {
    await save({ ...state, sessionId: "" }); // the server was restored to a time before the session
  } else if (isRetryable(error)) {
    await sleep(retryAfterMs(error));
  } else throw error;
}

await work();
// endregion
