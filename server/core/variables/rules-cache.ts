/**
 * Rules of variables that were seen lately. May be behind, which costs a round trip and nothing else: `append` compares the
 * version under the stream's lock, and who refuses a value reads them anew first.
 */
import { LRUCache } from "lru-cache";
import type { Rules, VariableOwner, VariableStore } from "./variable.ts";

/** Kept, roughly, bytes. */
const keptBytes = 16 * 1024 * 1024;
/** Names whose rules are read at once: those of one may take 150 KiB. */
const chunk = 100;

const absent: Rules = { type: 0, constraints: undefined, rulesVersion: 0, version: 0 };
/** With the stream: a workflow that was made anew under the same id has other rules with the same versions. */
const keyOf = ({ streamId, workflowId }: VariableOwner, name: string) =>
  `${streamId}\n${workflowId}\n${name}`;

export interface FoundRules {
  readonly rules: Rules;
  /** Read just now; else they are of an earlier time, and `version` says nothing. */
  readonly isFresh: boolean;
}

export class RulesCache {
  readonly #store: Pick<VariableStore, "readRules">;
  readonly #kept = new LRUCache<string, Rules>({
    maxSize: keptBytes,
    sizeCalculation: ({ constraints }, key) =>
      500 + key.length + (constraints === undefined ? 0 : 2 * JSON.stringify(constraints).length),
  });

  constructor(store: Pick<VariableStore, "readRules">) {
    this.#store = store;
  }

  /** Those of these names, a chunk at a time, in order. */
  async *rulesOf(owner: VariableOwner, names: readonly string[]): AsyncGenerator<readonly FoundRules[]> {
    for (let at = 0; at < names.length; at += chunk) {
      const part = names.slice(at, at + chunk);
      const kept = part.map((name) => this.#kept.get(keyOf(owner, name)));
      const unknown = part.filter((_, i) => kept[i] === undefined);
      const read = unknown.length === 0 ? undefined : await this.#store.readRules(owner, unknown);
      yield part.map((name, i) => {
        const known = kept[i];
        if (known !== undefined) return { rules: known, isFresh: false };
        const rules = read?.get(name) ?? absent;
        this.note(owner, name, rules);
        return { rules, isFresh: true };
      });
    }
  }

  note(owner: VariableOwner, name: string, rules: Rules): void {
    this.#kept.set(keyOf(owner, name), rules);
  }

  forget(owner: VariableOwner, name: string): void {
    this.#kept.delete(keyOf(owner, name));
  }
}
