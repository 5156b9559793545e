/** Each reader's history is what the truth holds of its scope and filter after its start, once, in order, or a declared gap. */
import { EventType } from "../../../gen/tributary/v1/event_pb.ts";
import { digest, type ReaderLog, type ToldEvent } from "./reader-log.ts";
import type { StoredRow, StoredStream, Truth } from "./truth.ts";
import { type Snapshot, sayingOfVariable } from "./variable-watcher.ts";

export class ReaderCheck {
  readonly #truth: Truth;
  readonly #byRoot: Map<string, StoredStream>;
  readonly #digests = new Map<StoredStream, number[]>();

  constructor(truth: Truth) {
    this.#truth = truth;
    this.#byRoot = new Map(
      truth.streams.flatMap((stream) => (stream.root === undefined ? [] : [[stream.root, stream]])),
    );
  }

  /** A reader of events. */
  events(log: ReaderLog): string[] {
    const { scope, types, tasks } = log.reading;
    const stream = this.#byRoot.get(scope.branch.root);
    if (stream === undefined) return [`${log.name}: its tree is not there`];
    const isInScope = this.#membership(log);
    const final = this.#finalOffset(log);
    const digests = this.#digestsOf(stream);
    const expected = stream.rows.filter(
      (row) =>
        isInScope(row) &&
        row.offset <= (final ?? Number.POSITIVE_INFINITY) &&
        (types.length === 0 || types.includes(row.type as never)) &&
        (tasks.length === 0 || tasks.includes(row.task)),
    );
    const problems = compare(log, expected, (row) => digests[row.offset - 1] ?? 0, stream.floor);
    if (log.endedQuietly) {
      if ((log.position ?? 0) < (final ?? 0))
        problems.push(`sent away at ${log.position}, its end is ${final}`);
    } else if (log.finalOffset !== final) problems.push(`ended at ${log.finalOffset}, its end is ${final}`);
    return problems.map((problem) => `${log.name}: ${problem}`);
  }

  /** A watcher of variables. */
  variables(log: ReaderLog): string[] {
    const { branch } = log.reading.scope;
    const stream = this.#byRoot.get(branch.root);
    if (stream === undefined) return [`${log.name}: its tree is not there`];
    const expected = stream.rows.filter((row) => row.workflowId === branch.id && isVariable(row));
    const problems = compare(log, expected, (row) => digest(toVariableEvent(row)), stream.floor);
    return problems.map((problem) => `${log.name}: ${problem}`);
  }

  /** The values of a snapshot are those at its offset. */
  snapshot({ workflowId, offset, values }: Snapshot): string[] {
    const stream = this.#truth.streams.find(
      ({ id }) => id === this.#truth.workflows.get(workflowId)?.streamId,
    );
    const state = new Map<string, string>();
    for (const row of stream?.rows ?? []) {
      if (row.offset > offset || row.workflowId !== workflowId || !isVariable(row)) continue;
      const { name, version, value } = JSON.parse(row.text) as VariableEntry;
      if (row.type === EventType.VARIABLE_SET) state.set(name, `${version} ${JSON.stringify(value)}`);
      else state.delete(name);
    }
    const told = [...values].map(
      ([name, { version, value }]) => `${name} ${version} ${JSON.stringify(value)}`,
    );
    const expected = [...state].map(([name, value]) => `${name} ${value}`);
    if (told.toSorted().join() === expected.toSorted().join()) return [];
    return [`variables of ${workflowId} at ${offset}: told ${told}; they were ${expected}`];
  }

  /** Who follows observations about a word. */
  recall(log: ReaderLog, word: string): string[] {
    const stream = this.#truth.streams.find(
      ({ root, tenant }) => root === undefined && tenant === log.reading.scope.branch.tenant,
    );
    const expected = stream?.rows.filter(({ text }) => text.split(" ").includes(word)) ?? [];
    const asTold = (row: StoredRow) =>
      digest({
        workflowId: "",
        task: "",
        type: row.type,
        sequence: 0,
        text: `${row.producerId} ${row.text}`,
      });
    return compare(log, expected, asTold, stream?.floor ?? 0).map((problem) => `${log.name}: ${problem}`);
  }

  #digestsOf(stream: StoredStream): number[] {
    const known = this.#digests.get(stream) ?? stream.rows.map((row) => digest(row));
    this.#digests.set(stream, known);
    return known;
  }

  #membership({ reading: { scope } }: ReaderLog): (row: StoredRow) => boolean {
    const { id } = scope.branch;
    if (scope.kind === "workflow") return (row) => row.workflowId === id;
    if (scope.kind === "task") return (row) => row.workflowId === id && row.task === scope.task;
    return (row) => this.#truth.workflows.get(row.workflowId)?.path.includes(id) === true;
  }

  #finalOffset({ reading: { scope } }: ReaderLog): number | undefined {
    const workflow = this.#truth.workflows.get(scope.branch.id);
    if (scope.kind === "subtree") return workflow?.finalOffset;
    if (scope.kind === "workflow") return workflow?.terminalOffset;
    return this.#truth.taskEnds.get(`${scope.branch.id} ${scope.task}`) ?? workflow?.terminalOffset;
  }
}

interface VariableEntry {
  readonly name: string;
  readonly version: number;
  readonly value?: unknown;
  readonly oldValue?: unknown;
  readonly source: string;
}

const isVariable = ({ type }: StoredRow): boolean =>
  type === EventType.VARIABLE_SET || type === EventType.VARIABLE_DELETED;

function toVariableEvent({ workflowId, type, text }: StoredRow): Omit<ToldEvent, "offset"> {
  const { name, version, value, oldValue, source } = JSON.parse(text) as VariableEntry;
  const shown = type === EventType.VARIABLE_SET ? value : oldValue;
  return { workflowId, task: "", type, sequence: 0, text: sayingOfVariable(name, version, shown, source) };
}

/** The first differences, with what is stored around. */
function compare(
  log: ReaderLog,
  expected: readonly StoredRow[],
  digestOf: (row: StoredRow) => number,
  floor: number,
): string[] {
  const { start, offsets, digests, gaps, covered } = log;
  if (start === undefined) return ["never opened"];
  const problems: string[] = [];
  for (const { from, to } of gaps)
    if (to > floor) problems.push(`a gap ${from}–${to}, and only ${floor} were ever trimmed`);
  let at = 0;
  for (const row of expected) {
    if (row.offset <= start) continue;
    if ([...gaps, ...covered].some(({ from, to }) => row.offset >= from && row.offset <= to)) continue;
    if (offsets[at] === row.offset) {
      if (digests[at] !== digestOf(row))
        problems.push(`another content at ${row.offset} than "${row.text.slice(0, 60)}"`);
      at++;
    } else {
      const around = offsets.slice(Math.max(0, at - 3), at + 3);
      problems.push(
        `did not get ${row.offset} ("${row.text.slice(0, 60)}"), but … ${around} …, begun after ${start}`,
      );
      while ((offsets[at] ?? Number.POSITIVE_INFINITY) < row.offset) at++;
      if (offsets[at] === row.offset) at++;
    }
    if (problems.length >= 5) return problems;
  }
  if (at < offsets.length) problems.push(`got ${offsets.slice(at, at + 5)}, which is not of its scope`);
  return problems;
}
