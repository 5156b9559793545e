/**
 * Misses no event across runs: keeps the position in a file, and begins there the next time.
 * Run it twice: `node examples/resume.ts <workflow-id> position.json`
 */
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { Code, ConnectError, type StoredPosition } from "tributary/client";
import { client } from "./connect.ts";

const [workflowId = "", file = "position.json"] = process.argv.slice(2);

// region position
/** The offset means something in this epoch of the stream only: after a restore from a backup it is another one. */
const store = {
  async load(): Promise<StoredPosition | undefined> {
    const text = await readFile(file, "utf8").catch(() => undefined);
    if (text === undefined) return undefined;
    const { epoch, offset } = JSON.parse(text);
    return { epoch: BigInt(epoch), offset: BigInt(offset) };
  },
  /** Whole or not at all: by a rename. */
  async save({ epoch, offset }: StoredPosition): Promise<void> {
    await writeFile(`${file}.new`, JSON.stringify({ epoch: String(epoch), offset: String(offset) }));
    await rename(`${file}.new`, file);
  },
};
// endregion

// region resume
async function follow(): Promise<void> {
  // Saved when the next item is asked for: a crash before that hands the last one over again instead of losing it.
  for await (const item of client.followTree(workflowId, { store })) {
    switch (item.kind) {
      case "events":
        for (const event of item.events) console.log(String(event.offset), event.payload.value);
        break;
      case "gap":
        console.log(`${item.gap.fromOffset}–${item.gap.toOffset} were removed by retention`);
        break;
      case "ended":
        console.log("ended at", String(item.ended.finalOffset));
        break;
    }
  }
}

await follow().catch(async (error: unknown) => {
  // Another epoch, or beyond the tail: the stream is not the one that the position is of.
  const { code } = ConnectError.from(error);
  if (code !== Code.Aborted && code !== Code.OutOfRange) throw error;
  console.log("the stream was restored from a backup: from the beginning");
  await rm(file);
  await follow();
});
// endregion
