/** What the console keeps of a tree, without a browser. */
import { expect, test } from "vitest";
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import type { Entry } from "../../web/tree/entry.ts";
import { History } from "../../web/tree/history.ts";
import { TimelineFilter } from "../../web/tree/timeline-filter.ts";
import { TreeModel } from "../../web/tree/tree-model.ts";
import { Random, seeds } from "../support/random.ts";

const [seed = 0] = seeds(1);
const random = new Random(seed);
const below = (count: number) => random.below(count);

/** A tree of up to eight workflows, at random. */
function makeEntries(count: number): Entry[] {
  const ids = ["root"];
  const entry = (offset: number, type: EventType, workflowId: string, task: string, text: string): Entry => ({
    ...{ offset, type, workflowId, task, text, cut: false, sentMs: offset, recordedMs: offset },
  });
  const entries = [entry(1, EventType.WORKFLOW_CREATED, "root", "", '{"name":"root"}')];
  while (entries.length < count) {
    const offset = entries.length + 1;
    const workflowId = ids[below(ids.length)] ?? "";
    const kind = below(40);
    if (kind === 0 && ids.length < 8) {
      const id = `w${ids.length}`;
      ids.push(id);
      const text = JSON.stringify({ name: id, parentWorkflowId: workflowId });
      entries.push(entry(offset, EventType.WORKFLOW_CREATED, id, "", text));
    } else if (kind === 1) entries.push(entry(offset, EventType.ERROR, workflowId, "t", '{"message":"oh"}'));
    else if (kind === 2) {
      entries.push(
        entry(offset, EventType.TOOL_CALL, workflowId, "t", '{"id":"1","name":"f","arguments":{}}'),
      );
    } else if (kind === 3)
      entries.push(entry(offset, EventType.PROGRESS, workflowId, "t", '{"progress":0.5}'));
    else entries.push(entry(offset, EventType.TOKEN, workflowId, "t", `${offset} `));
  }
  return entries;
}

const seen = (model: TreeModel) => ({
  offset: model.offset,
  events: model.events,
  rows: model.rows.map(({ node, depth }) => ({
    ...{
      id: node.id,
      name: node.name,
      depth,
      errors: node.errors,
      events: node.events,
      share: node.progress,
    },
    parts: [...node.tasks.values()].map(({ transcript }) => transcript.parts),
  })),
});

test(`the tree at any kept offset is the one that all events up to there make, also after some were dropped (seed ${seed})`, () => {
  const entries = makeEntries(9000);
  const history = new History(3000);
  for (const entry of entries) history.add(entry);
  expect(history.firstOffset).toBeGreaterThan(1);
  const moments = Array.from({ length: 12 }, () => history.firstOffset + below(9000 - history.firstOffset));
  for (const offset of [history.firstOffset, ...moments, 9000]) {
    const whole = new TreeModel();
    for (const entry of entries.slice(0, offset)) whole.apply(entry);
    expect(seen(history.modelAt(offset))).toEqual(seen(whole));
  }
  expect(seen(history.live)).toEqual(seen(history.modelAt(9000)));
});

test(`keeps no more events than it may, and shows the right ones for each filter (seed ${seed})`, () => {
  const history = new History(3000);
  const errors = new TimelineFilter(history, "errors");
  const all = new TimelineFilter(history, "all");
  for (const entry of makeEntries(12_000)) {
    history.add(entry);
    expect(history.entries.length).toBeLessThanOrEqual(5000);
    if (entry.offset % 700 !== 0) continue;
    expect(all.count(history.entries.length)).toBe(history.entries.length);
    const half = Math.floor(history.entries.length / 2);
    const kept = history.entries.slice(0, half).filter(({ type }) => type === EventType.ERROR);
    const count = errors.count(half);
    expect(Array.from({ length: count }, (_, at) => errors.at(at)?.offset)).toEqual(
      kept.map(({ offset }) => offset),
    );
  }
});

test("long payloads are bounded by their characters too", () => {
  const history = new History();
  const text = "x".repeat(16_384);
  for (let offset = 1; offset <= 4000; offset += 1) {
    const [type, sentMs] = [EventType.DATA, 0];
    history.add({ offset, type, workflowId: "w", task: "t", text, cut: true, sentMs, recordedMs: 0 });
  }
  expect(history.entries.length * text.length).toBeLessThanOrEqual(32 * 1024 * 1024);
  expect(history.entries.at(-1)?.offset).toBe(4000);
});
