/**
 * Changes variables of a workflow: with an expected version or without, one or several at once, and deletes them. Each
 * change has a source of its own, so that it can be found again. It notes what it was told.
 */
import { Code } from "@connectrpc/connect";
import { json } from "../../support/variable-call.ts";
import type { Branch } from "./forest.ts";
import { nap, type Stage } from "./stage.ts";

export interface Change {
  readonly source: string;
  readonly names: readonly string[];
  readonly isDeletion: boolean;
  /** Told that it was done: which version (of a deletion: none) and offset; "unknown": stored at most once. */
  outcome: { readonly versions: readonly number[]; readonly offset: number } | "unknown" | "refused";
}

const expected = [Code.Aborted, Code.FailedPrecondition, Code.NotFound];

export class VariableWriter {
  readonly name: string;
  readonly branch: Branch;
  readonly changes: Change[] = [];
  readonly #stage: Stage;
  readonly #variables: readonly string[];
  #isRefused = false;

  constructor(stage: Stage, name: string, branch: Branch, variables: readonly string[]) {
    this.#stage = stage;
    this.name = name;
    this.branch = branch;
    this.#variables = variables;
  }

  async run(): Promise<void> {
    while (!this.#stage.over && !this.#isRefused) {
      await this.#change();
      await nap(this.#stage.random.below(80));
    }
  }

  async #change(): Promise<void> {
    const { random } = this.#stage;
    const workflowId = this.branch.id;
    const source = `${this.name} ${this.changes.length + 1}`;
    const dice = random.next();
    const names = dice < 0.2 ? this.#variables : [random.pick(this.#variables)];
    const [name = ""] = names;
    const change: Change = { source, names, isDeletion: dice > 0.9, outcome: "unknown" };
    this.changes.push(change);
    const last = this.changes.findLast(
      ({ outcome, names: [of] }) => of === name && typeof outcome === "object",
    );
    const guess =
      typeof last?.outcome === "object" && random.chance(0.5) ? last.outcome.versions[0] : undefined;
    const assign = (each: string) => ({
      name: each,
      value: json(source),
      ...(guess === undefined || names.length > 1 ? {} : { expectedVersion: BigInt(guess) }),
    });
    const clients = this.#stage.anyClients(this.branch.tenant);
    const options = { signal: AbortSignal.timeout(4000) };
    try {
      // Not tried again: whether it was done is seen in the stream.
      if (change.isDeletion) {
        const { offset } = await clients.variables.deleteVariable({ workflowId, name, source }, options);
        change.outcome = { versions: [], offset: Number(offset) };
      } else if (names.length > 1) {
        const { variables } = await clients.variables.setVariables(
          { workflowId, assignments: names.map(assign), source },
          options,
        );
        change.outcome = {
          versions: variables.map(({ version }) => Number(version)),
          offset: Number(variables[0]?.offset),
        };
      } else {
        const { variable } = await clients.variables.setVariable(
          { workflowId, assignment: assign(name), source },
          options,
        );
        change.outcome = { versions: [Number(variable?.version)], offset: Number(variable?.offset) };
      }
    } catch (error) {
      if (!this.#stage.witness.excuses(source, error, expected)) {
        change.outcome = "refused";
        this.#isRefused = this.branch.closing !== undefined;
      }
    }
  }
}
