/**
 * A worker that outlives its own crashes and the server's: each line of a file becomes an event, once and in order, and
 * then the task is completed. There is no code for retries in it: the session does that.
 * Run: `node examples/worker.ts <workflow id> <file of lines> <file for its state>`
 */
import { readFile, rename, writeFile } from "node:fs/promises";
import type { SessionRecord } from "tributary/client";
import { client } from "./connect.ts";

const [workflowId = "", sourceFile = "", stateFile = ""] = process.argv.slice(2);
const lines = (await readFile(sourceFile, "utf8")).trimEnd().split("\n");

// region state
/** What outlives the process: the session's id, and how much earlier sessions settled. How far it came, the server knows. */
const store = {
  async load(): Promise<SessionRecord | undefined> {
    const text = await readFile(stateFile, "utf8").catch(() => undefined);
    return text === undefined ? undefined : JSON.parse(text);
  },
  /** Whole or not at all: by a rename. */
  async save(record: SessionRecord): Promise<void> {
    await writeFile(`${stateFile}.new`, JSON.stringify(record));
    await rename(`${stateFile}.new`, stateFile);
  },
};
// endregion

async function work(): Promise<void> {
  // region open
  const session = client.openSession({
    workflowId,
    store,
    // It will never be stored; what was written after it stands.
    onRejected: ({ position, message }) => console.log(`line ${position} was refused: ${message}`),
  });
  session.onPhase((phase) => {
    if (phase === "open") console.log(`session ${session.sessionId} goes on after line ${session.settled}`);
  });
  const { settled } = await session.opened;
  // endregion

  // region write
  const task = session.task("worker");
  for (const line of lines.slice(settled)) {
    if (session.cancelled.aborted) break;
    await task.token(line); // waits while the server is slower, or away
  }
  if (session.cancelled.aborted) {
    console.log(`asked to stop: ${session.cancelled.reason.message}`);
    await task.cancelled();
  } else if (settled <= lines.length) await task.completed();
  await session.close(); // when everything is stored
  // endregion
  console.log("all is said");
}

const kept = await store.load();
if ((kept?.before ?? 0) <= lines.length) await work();
