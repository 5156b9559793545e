/**
 * What `append_plain` (db/migrations/0011_append_plain.sql) is told beyond the entries, of a group that may be plain: none of
 * its entries depends on another one, as far as the group alone tells. Of any other, undefined: it is for `append`, which
 * also says what is wrong with it.
 *
 * Pure, and one walk over the entries.
 */
import type { AppendGroup, PlainPart } from "../../db/statements/append-group.ts";
import { passedType } from "../core/command.ts";
import { EventType, isTaskTerminal, noWorkflow } from "../core/event.ts";

type Entries = Omit<AppendGroup, "plain">;

/** A producer with numbers, or a session. */
interface Numbered {
  entry: number;
  last: number;
  count: number;
  readonly epoch: number;
  readonly first: number;
}

export function toPlainPart(group: Entries): PlainPart | undefined {
  const { entryKey, entrySequence, entryType, keyStream, keyWorkflow, keyProducer, keyEpoch } = group;
  if (group.ops.length > 0 || entryKey.length === 0) return undefined;
  const counts = new Array<number>(group.streams.length).fill(0);
  const ranks = new Array<number>(entryKey.length);
  const ends: number[] = [];
  const ended = new Set<number>();
  const { taskOf, producerOf } = identify(group);
  const numbered = new Map<number, Numbered>();
  for (let i = 0; i < entryKey.length; i++) {
    const key = (entryKey[i] as number) - 1;
    const stream = (keyStream[key] as number) - 1;
    ranks[i] = counts[stream] as number;
    counts[stream] = (counts[stream] as number) + 1;
    const type = entryType[i] as number;
    if (type === passedType) return undefined;
    if ((type === EventType.OBSERVATION) !== (keyWorkflow[key] === noWorkflow)) return undefined;
    if (ended.size > 0 && ended.has(taskOf(key))) return undefined;
    if (isTaskTerminal(type)) {
      ended.add(taskOf(key));
      ends.push(i + 1);
    }
    if (keyProducer[key] === "") continue;
    const sequence = entrySequence[i] as number;
    const epoch = keyEpoch[key] as number;
    const producer = producerOf(key);
    const found = numbered.get(producer);
    if (found === undefined) {
      numbered.set(producer, { entry: i + 1, last: sequence, count: 1, epoch, first: sequence });
      continue;
    }
    if (sequence <= found.last || epoch !== found.epoch) return undefined;
    found.entry = i + 1;
    found.last = sequence;
    found.count++;
  }
  const producers = [...numbered.values()];
  if (producers.some(({ epoch, first, last, count }) => epoch > 0 && last - first + 1 !== count)) {
    return undefined;
  }
  if (hasDouble(group)) return undefined;
  return {
    counts,
    ranks,
    numberedEntry: producers.map(({ entry }) => entry),
    numberedEpoch: producers.map(({ epoch }) => epoch),
    numberedFirst: producers.map(({ first }) => first),
    ends,
  };
}

/** Keys of one task, and keys of one producer, by one number each: looked up when first asked for. */
function identify({ keyStream, keyWorkflow, keyTask, keyProducer, keyEpoch }: Entries) {
  const numbering = (nameOf: (key: number) => string) => {
    const byName = new Map<string, number>();
    const byKey: number[] = [];
    return (key: number): number => {
      const known = byKey[key];
      if (known !== undefined) return known;
      const name = nameOf(key);
      const no = byName.get(name) ?? byName.size;
      byName.set(name, no);
      byKey[key] = no;
      return no;
    };
  };
  return {
    taskOf: numbering((key) => `${keyWorkflow[key]}\n${keyTask[key]}`),
    producerOf: numbering((key) => {
      // A session's numbers go on over all workflows of its tree.
      const workflow = (keyEpoch[key] as number) > 0 ? noWorkflow : keyWorkflow[key];
      return `${keyStream[key]}\n${workflow}\n${keyProducer[key]}`;
    }),
  };
}

/** Is an observation's id in one space twice? */
function hasDouble({ observationEntry, observationId, entryKey, keyStream }: Entries): boolean {
  if (observationId.length < 2) return false;
  const ids = observationEntry.map((entry, i) => {
    const stream = keyStream[(entryKey[entry - 1] as number) - 1];
    return `${stream}\n${observationId[i]}`;
  });
  return new Set(ids).size < ids.length;
}
