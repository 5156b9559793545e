/** What is drawn must fit, else a terminal wraps or scrolls it and the next frame lands elsewhere. */
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { Board } from "../../cli/demo/board.ts";
import { drawBoard } from "../../cli/demo/picture.ts";
import { Witness } from "../../cli/demo/witness.ts";
import { createPaint } from "../../cli/output/paint.ts";
import { TokenRuns } from "../../cli/output/token-runs.ts";
import { shorten, widthOf, wrap } from "../../cli/output/width.ts";
import { EventSchema, EventType } from "../../gen/tributary/v1/event_pb.ts";

function createBoard(): Board {
  const board = new Board();
  const add = (workflowId: string, type: EventType, value: string) =>
    board.add(create(EventSchema, { workflowId, type, offset: 1n, payload: { case: "text", value } }));
  for (const [id, parentWorkflowId] of [["a"], ["b", "a"], ["c", "a"], ["d", "c"]] as const) {
    const name = `workflow ${id} with a rather long name 名前`;
    add(id, EventType.WORKFLOW_CREATED, JSON.stringify({ name, parentWorkflowId }));
    add(id, EventType.TOKEN, "Several words, 日本語のとても長いテキスト and anUnbreakablyLongWord".repeat(9));
    add(id, EventType.PROGRESS, '{"progress":0.4}');
  }
  return board;
}

test.each([20, 40, 60, 80, 133, 300])("the picture fits a terminal of %i columns", (columns) => {
  for (const rows of [5, 12, 24, 60]) {
    const lines = drawBoard(createBoard(), { columns, rows, expectedRows: 4 }, createPaint(true));
    expect(lines.length).toBeLessThan(rows);
    for (const line of lines.slice(0, -1)) if (columns > 30) expect(widthOf(line)).toBeLessThan(columns);
  }
});

test("text is wrapped and cut by cells, not by characters", () => {
  expect(shorten("名前名前", 5)).toBe("名前…");
  expect(shorten("short", 5)).toBe("short");
  expect(wrap("one two three", 8)).toEqual(["one two", "three"]);
  for (const line of wrap("日本語のとても長いテキスト", 7)) expect(widthOf(line)).toBeLessThanOrEqual(7);
});

test("tokens of a task that writes alone are one text; those of several keep to their own lines", () => {
  let written = "";
  const runs = new TokenRuns((text) => {
    written += text;
  });
  runs.add("a", "Hello ", () => "A: ");
  runs.add("a", "world", () => "A: ");
  expect(written).toBe("A: Hello world");
  runs.add("b", "x".repeat(70), () => "B: ");
  runs.add("a", "again", () => "A: ");
  runs.flush();
  expect(written).toBe(`A: Hello world\nB: ${"x".repeat(70)}\nA: again\n`);
});

test("the witness finds what is missing, double, trimmed, or without an end", () => {
  const seeing = (offsets: number[], final?: number) => {
    const witness = new Witness();
    const events = offsets.map((offset) => create(EventSchema, { offset: BigInt(offset) }));
    witness.see({ kind: "events", events });
    if (final !== undefined) witness.see({ kind: "ended", ended: { finalOffset: BigInt(final) } as never });
    return witness.verdict();
  };
  expect(seeing([1, 2, 3], 3)).toMatchObject({ complete: true, events: 3, lastOffset: 3 });
  expect(seeing([2, 3], 3)).toMatchObject({ complete: false, missing: 1 });
  expect(seeing([1, 3], 3)).toMatchObject({ complete: false, missing: 1 });
  expect(seeing([1, 2, 2, 3], 3)).toMatchObject({ complete: false, duplicates: 1 });
  expect(seeing([1, 2], 3)).toMatchObject({ complete: false, missing: 1 });
  expect(seeing([1, 2, 3])).toMatchObject({ complete: false, ended: false });
});
