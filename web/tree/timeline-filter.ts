/**
 * Which of the kept entries the timeline shows, by place. Only what is new since the last look is judged, so a hundred thousand
 * cost nothing more in each frame.
 */
import { EventType } from "../../client/browser.ts";
import type { Entry } from "./entry.ts";
import type { History } from "./history.ts";

export const filters = {
  all: { label: "Everything", keeps: () => true },
  steps: {
    label: "Without tokens",
    keeps: ({ type }) => type !== EventType.TOKEN && type !== EventType.PROGRESS,
  },
  tools: {
    label: "Tool calls",
    keeps: ({ type }) => type === EventType.TOOL_CALL || type === EventType.TOOL_RESULT,
  },
  errors: {
    label: "Errors",
    keeps: ({ type }) =>
      type === EventType.ERROR || type === EventType.FAILED || type === EventType.WORKFLOW_FAILED,
  },
  life: { label: "Lifecycle", keeps: ({ type, task }) => task === "" && type < EventType.VARIABLE_SET },
  variables: {
    label: "Variables",
    keeps: ({ type }) => type === EventType.VARIABLE_SET || type === EventType.VARIABLE_DELETED,
  },
} as const satisfies Record<string, { label: string; keeps: (entry: Entry) => boolean }>;

export type FilterName = keyof typeof filters;
export const filterNames = Object.keys(filters) as FilterName[];

export class TimelineFilter {
  readonly #history: History;
  readonly #keeps: (entry: Entry) => boolean;
  /** Places in all entries that ever were; the first ones may be gone. */
  #places: number[] = [];
  #judged = 0;

  constructor(history: History, name: FilterName) {
    this.#history = history;
    this.#keeps = filters[name].keeps;
  }

  /** Of the first `shown` kept entries. */
  count(shown: number): number {
    const { entries, removed } = this.#history;
    for (let at = Math.max(0, this.#judged - removed); at < entries.length; at += 1) {
      if (this.#keeps(entries[at] as Entry)) this.#places.push(at + removed);
    }
    this.#judged = removed + entries.length;
    if ((this.#places[0] ?? removed) < removed)
      this.#places = this.#places.slice(lowerBound(this.#places, removed));
    return shown === entries.length ? this.#places.length : lowerBound(this.#places, shown + removed);
  }

  at(index: number): Entry | undefined {
    const place = this.#places[index];
    return place === undefined ? undefined : this.#history.entries[place - this.#history.removed];
  }
}

function lowerBound(sorted: readonly number[], value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
