/** Conflation alone: events in, what is kept out. */
import { expect, test } from "vitest";
import { messageBounds } from "../../server/core/batch.ts";
import { ConflatedBatch } from "../../server/core/conflate.ts";
import { EventType, type NewEvent, type StoredEvent, sizeOf } from "../../server/core/event.ts";
import { anEvent } from "../support/commands.ts";

const { TOKEN, PROGRESS, DATA, OUTPUT, VARIABLE_SET, VARIABLE_DELETED } = EventType;
const all = [PROGRESS, DATA, OUTPUT, VARIABLE_SET, VARIABLE_DELETED];

const stored = (...events: (Partial<NewEvent> & { type: number })[]): StoredEvent[] =>
  events.map((event, i) => ({
    ...anEvent({ workflowId: "w", ...event }),
    offset: i + 1,
    recordedMs: 1,
  }));

/** What is kept, as [offset, replaced], and how many were taken. */
function conflate(events: readonly StoredEvent[], types = all, bounds = messageBounds) {
  const batch = new ConflatedBatch(new Set(types), undefined, bounds);
  const refused = events.findIndex((event) => !batch.offer(event));
  return {
    kept: batch.events.map(({ offset, replaced }) => [offset, replaced ?? 0]),
    taken: refused < 0 ? events.length : refused,
  };
}

const variable = (type: number, name: unknown): Partial<NewEvent> & { type: number } => ({
  type,
  taskExecutionId: "",
  payload: JSON.stringify({ name, value: 1 }),
});

test("of a workflow's task and type the newest is kept, at its own place, with the number that it replaced", () => {
  const events = stored(
    { type: PROGRESS },
    { type: TOKEN },
    { type: PROGRESS },
    { type: DATA },
    { type: PROGRESS, taskExecutionId: "other" },
    { type: PROGRESS, workflowId: "v" },
    { type: TOKEN },
    { type: PROGRESS },
  );
  expect(conflate(events).kept).toEqual([
    [2, 0],
    [4, 0],
    [5, 0],
    [6, 0],
    [7, 0],
    [8, 2],
  ]);
});

test("types that were not named are all kept, in their order", () => {
  const events = stored({ type: DATA }, { type: PROGRESS }, { type: DATA }, { type: PROGRESS });
  expect(conflate(events, [PROGRESS]).kept).toEqual([
    [1, 0],
    [3, 0],
    [4, 1],
  ]);
});

test("of a workflow's variable the newest stands for its settings and its deletions", () => {
  const events = stored(
    variable(VARIABLE_SET, "a"),
    variable(VARIABLE_SET, "b"),
    variable(VARIABLE_DELETED, "a"),
    { ...variable(VARIABLE_SET, "a"), workflowId: "v" },
    variable(VARIABLE_SET, "b"),
  );
  expect(conflate(events).kept).toEqual([
    [3, 1],
    [4, 0],
    [5, 1],
  ]);
});

test("a type of variable events that was not named is kept, also between two of the other", () => {
  const events = stored(
    variable(VARIABLE_SET, "a"),
    variable(VARIABLE_DELETED, "a"),
    variable(VARIABLE_SET, "a"),
  );
  expect(conflate(events, [VARIABLE_SET]).kept).toEqual([
    [2, 0],
    [3, 1],
  ]);
});

test("a variable's event without a name in its payload stands for itself alone", () => {
  const payloads = ["", "no JSON", "null", "7", '{"name":7}', Buffer.from('{"name":"a"}'), undefined];
  const events = stored(...[...payloads, ...payloads].map((payload) => ({ type: VARIABLE_SET, payload })));
  expect(conflate(events).kept).toEqual(events.map(({ offset }) => [offset, 0]));
});

test("a payload is parsed once, whoever reads it", () => {
  const { parse } = JSON;
  let parsed = 0;
  JSON.parse = (...args) => {
    parsed++;
    return parse(...args);
  };
  try {
    const events = stored(variable(VARIABLE_SET, "a"), variable(VARIABLE_SET, "a"));
    for (let reader = 0; reader < 3; reader++) expect(conflate(events).kept).toEqual([[2, 1]]);
    expect(parsed).toBe(2);
  } finally {
    JSON.parse = parse;
  }
});

test("names and tasks that look alike are not mixed up", () => {
  const events = stored(
    { type: PROGRESS, taskExecutionId: "variable a" },
    variable(VARIABLE_SET, "a"),
    { type: PROGRESS, taskExecutionId: "" },
    { type: DATA, taskExecutionId: "2 t" },
    { type: PROGRESS, taskExecutionId: "t" },
    { type: DATA, taskExecutionId: "t" },
  );
  expect(conflate(events).kept).toEqual(events.map(({ offset }) => [offset, 0]));
});

test("bounds count what is kept, so that a message holds the newest of however many", () => {
  const many = stored(...Array.from({ length: 5000 }, () => ({ type: PROGRESS })));
  expect(conflate(many)).toEqual({ kept: [[5000, 4999]], taken: 5000 });
  const mixed = stored(
    { type: TOKEN },
    { type: PROGRESS },
    { type: PROGRESS },
    { type: TOKEN },
    { type: PROGRESS },
  );
  expect(conflate(mixed, all, { entries: 2, bytes: 1e6 })).toEqual({
    kept: [
      [1, 0],
      [3, 1],
    ],
    taken: 3,
  });
  expect(conflate(mixed, all, { entries: 0, bytes: 1e6 })).toEqual({ kept: [], taken: 0 });
});

test("bytes are those of what is kept, and one larger event may stand alone", () => {
  const [small, large] = ["x".repeat(100), "x".repeat(10_000)];
  const events = stored(
    { type: PROGRESS, payload: large },
    { type: PROGRESS, payload: small },
    { type: TOKEN, payload: small },
    { type: PROGRESS, payload: large },
    { type: TOKEN, payload: small },
  );
  const bytes = 2 * sizeOf(events[1] as StoredEvent);
  expect(conflate(events, all, { entries: 10, bytes })).toEqual({
    kept: [
      [2, 1],
      [3, 0],
    ],
    taken: 3,
  });
  expect(conflate(events.slice(3), all, { entries: 10, bytes })).toEqual({ kept: [[4, 0]], taken: 1 });
});

test("the entry itself is not touched: other readers get it without a count", () => {
  const events = stored({ type: PROGRESS }, { type: PROGRESS });
  conflate(events);
  expect(events[1]).not.toHaveProperty("replaced");
});
