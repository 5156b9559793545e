/**
 * Misses no event across runs: keeps the position in a file, and begins there the next time.
 * Run it twice: `node examples/resume.ts <workflow-id> position.json`
 */
import { readFile, rename, writeFile } from "node:fs/promises";
import { Code, ConnectError } from "tributary/client";
import { client } from "./connect.ts";

const [workflowId = "", file = "position.json"] = process.argv.slice(2);

// region position
/** The offset means something in this epoch of the stream only: after a restore from a backup it is another one. */
interface Position {
  readonly epoch: string;
  readonly offset: string;
}

async function load(): Promise<Position | undefined> {
  const text = await readFile(file, "utf8").catch(() => undefined);
  return text === undefined ? undefined : JSON.parse(text);
}

/** Whole or not at all: by a rename. */
async function save(position: Position): Promise<void> {
  await writeFile(`${file}.new`, JSON.stringify(position));
  await rename(`${file}.new`, file);
}
// endregion

// region resume
async function follow(stored: Position | undefined): Promise<"done" | "restored"> {
  let epoch = "";
  for await (const item of client.followTree(workflowId, { afterOffset: BigInt(stored?.offset ?? 0) })) {
    switch (item.kind) {
      case "opened":
        epoch = String(item.opened.epoch);
        if (stored !== undefined && stored.epoch !== epoch) return "restored";
        break;
      case "events":
        for (const event of item.events) console.log(String(event.offset), event.payload.value);
        // After the work, so that a crash in between repeats it instead of losing it.
        await save({ epoch, offset: String(item.events.at(-1)?.offset) });
        break;
      case "gap":
        console.log(`${item.gap.fromOffset}–${item.gap.toOffset} were removed by retention`);
        break;
      case "ended":
        console.log("ended at", String(item.ended.finalOffset));
        break;
    }
  }
  return "done";
}

const stored = await load();
const outcome = await follow(stored).catch((error: unknown) => {
  // Beyond the tail: the stream is younger than the position.
  if (stored !== undefined && ConnectError.from(error).code === Code.OutOfRange) return "restored" as const;
  throw error;
});
if (outcome === "restored") {
  console.log("the stream was restored from a backup: from the beginning");
  await follow(undefined);
}
// endregion
