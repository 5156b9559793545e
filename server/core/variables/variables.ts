/**
 * Setting, deleting and reading variables. A change is a command of the tree's stream, in order with everything that was
 * accepted for the tree before, and stored with its entries in one transaction; several assignments are stored all or none.
 *
 * Types and constraints are judged here, before the command, by rules that may be of yesterday; the command names their
 * version, `append` compares it under the lock, and if it is another one nothing is stored and they are judged anew.
 */
import type { Access } from "../access.ts";
import type { Appender } from "../appender.ts";
import type { Clock } from "../clock.ts";
import type { Command, SetItem, VariableItem, VariablesResult } from "../command.ts";
import { DomainError } from "../errors.ts";
import { payloadSize } from "../event.ts";
import { limits } from "../limits.ts";
import { callerPatienceMs, refusedOffer } from "../publish.ts";
import type { Quotas } from "../quota/quotas.ts";
import { type Registry, unknownWorkflow } from "../registry.ts";
import { type Assignment, type Judged, judge } from "./constraints.ts";
import { Patterns } from "./pattern.ts";
import { type FoundRules, RulesCache } from "./rules-cache.ts";
import type { Constraints, Variable, VariableOwner, VariableStore } from "./variable.ts";

export interface VariablesDeps {
  readonly appender: Appender;
  readonly registry: Registry;
  readonly variableStore: VariableStore;
  readonly quotas: Pick<Quotas, "admit">;
  readonly clock: Clock;
}

/** An assignment after it was stored. */
export interface Stored extends SetItem, Judged {
  readonly workflowId: string;
  readonly offset: number;
  readonly updatedMs: number;
}

/** So often are assignments judged anew because their rules changed meanwhile. */
const tries = 10;
/** Judging gives way to others after so long, ms. */
const turnMs = 10;

export class Variables {
  readonly #deps: VariablesDeps;
  readonly #rules: RulesCache;
  readonly #patterns = new Patterns();

  constructor(deps: VariablesDeps) {
    this.#deps = deps;
    this.#rules = new RulesCache(deps.variableStore);
  }

  /** Sets them, all or none. `full`: the answer has the metadata. */
  async set(
    access: Access,
    workflowId: string,
    source: string,
    assignments: readonly Assignment[],
    full: boolean,
  ): Promise<readonly Stored[]> {
    assertMaySee(access);
    assertSource(source);
    assertBounds(assignments);
    const { identity } = await this.#deps.registry.require(access, workflowId);
    for (let attempt = 0; attempt < tries; attempt++) {
      const { judged, items } = await this.#judge(identity, assignments);
      const result = await this.#submit(access, identity.streamId, {
        kind: "set_variables",
        workflowId: identity.workflowId,
        source,
        items,
        full,
      });
      switch (result.result) {
        case "set":
          return assignments.map((assignment, i) => {
            const item = result.items[i] as SetItem;
            const { type, constraints } = judged[i] as Judged;
            const { rulesVersion, version } = item;
            this.#rules.note(identity, assignment.name, {
              type,
              constraints,
              rulesVersion,
              version,
            });
            return {
              ...item,
              type,
              constraints,
              workflowId: identity.workflowId,
              offset: result.offset + i,
              updatedMs: result.recordedMs,
            };
          });
        case "rules":
          for (const index of result.stale) this.#rules.forget(identity, assignments[index]?.name ?? "");
          break;
        case "conflict":
          throw conflictError(
            result.conflicts.map(({ index, version }) => [assignments[index] as Assignment, version]),
          );
        case "metadata":
          throw largeMetadata(assignments[result.large[0] ?? 0] as Assignment, "merged into what there is");
        default:
          throw this.#refusal(result, identity.workflowId);
      }
    }
    throw new DomainError(
      "unavailable",
      `the rules of these variables changed ${tries} times while they were set; nothing was stored; try again`,
    );
  }

  /** Gives the offset of the deletion. */
  async delete(
    access: Access,
    workflowId: string,
    name: string,
    source: string,
    expectedVersion: number | undefined,
  ): Promise<number> {
    assertMaySee(access);
    assertSource(source);
    const { identity } = await this.#deps.registry.require(access, workflowId);
    const result = await this.#submit(access, identity.streamId, {
      kind: "delete_variable",
      workflowId: identity.workflowId,
      name,
      source,
      expectedVersion,
    });
    this.#rules.forget(identity, name);
    switch (result.result) {
      case "deleted":
        return result.offset;
      case "missing":
        throw unknownVariable(identity.workflowId, name);
      case "conflict":
        throw conflictError(
          result.conflicts.map(({ version }) => [{ path: "", name, expectedVersion }, version]),
        );
      default:
        throw this.#refusal(result, identity.workflowId);
    }
  }

  async get(access: Access, workflowId: string, name: string): Promise<Variable> {
    assertMaySee(access);
    const { identity } = await this.#deps.registry.require(access, workflowId);
    const found = await this.#deps.variableStore.find(identity, name);
    if (found !== undefined) return found;
    await this.#deps.registry.assertCurrent(identity);
    throw unknownVariable(identity.workflowId, name);
  }

  /** By name, after the given one. */
  async list(
    access: Access,
    workflowId: string,
    size: number,
    after: string,
  ): Promise<{ readonly variables: readonly Variable[]; readonly more: boolean }> {
    assertMaySee(access);
    const { identity } = await this.#deps.registry.require(access, workflowId);
    const page = await this.#deps.variableStore.list(identity, size, after);
    if (page.variables.length === 0) await this.#deps.registry.assertCurrent(identity);
    return page;
  }

  /** What the assignments will be. Nothing is refused by rules that were not read just now. */
  async #judge(
    owner: VariableOwner,
    assignments: readonly Assignment[],
  ): Promise<{ judged: readonly Judged[]; items: readonly VariableItem[] }> {
    const { clock } = this.#deps;
    const judged: Judged[] = [];
    const items: VariableItem[] = [];
    const budget = { steps: limits.patternSteps };
    let beganMs = clock.now();
    const names = assignments.map(({ name }) => name);
    for await (const rules of this.#rules.rulesOf(owner, names)) {
      for (const found of rules) {
        const assignment = assignments[judged.length] as Assignment;
        const { of, by } = await this.#judgeOne(owner, assignment, found, budget);
        judged.push(of);
        items.push(toItem(assignment, of, by.rules.rulesVersion));
        if (clock.now() - beganMs < turnMs) continue;
        await new Promise<void>((resolve) => clock.after(1, resolve));
        beganMs = clock.now();
      }
    }
    return { judged, items };
  }

  async #judgeOne(
    owner: VariableOwner,
    assignment: Assignment,
    found: FoundRules,
    budget: { steps: number },
  ): Promise<{ of: Judged; by: FoundRules }> {
    try {
      return { of: judge(assignment, found.rules, this.#patterns, budget), by: found };
    } catch (error) {
      if (!found.isFresh) {
        this.#rules.forget(owner, assignment.name);
        for await (const [fresh] of this.#rules.rulesOf(owner, [assignment.name])) {
          if (fresh?.isFresh === true) return this.#judgeOne(owner, assignment, fresh, budget);
        }
      }
      // Who expects another version does not know the rules that they break: that comes first.
      const { expectedVersion } = assignment;
      if (expectedVersion !== undefined && expectedVersion !== found.rules.version) {
        throw conflictError([[assignment, found.rules.version]]);
      }
      throw error;
    }
  }

  async #submit(access: Access, streamId: string, part: CommandPart): Promise<VariablesResult> {
    const command: Command = { ...base(access.tenant, streamId, part), ...part };
    const { appender, quotas } = this.#deps;
    await quotas.admit(access.tenant, command.entries, valueBytes(part));
    const submission = appender.submit(command);
    if (submission.offer !== "queued") throw refusedOffer(appender, command, submission);
    return (await submission.result) as VariablesResult;
  }

  #refusal(result: VariablesResult, workflowId: string): DomainError {
    const { registry } = this.#deps;
    if (result.result === "closed") {
      registry.noteFoundClosed(workflowId);
      return new DomainError(
        "failed_precondition",
        `workflow ${workflowId} is closed; its variables can be read, not changed`,
      );
    }
    registry.forget(workflowId);
    return unknownWorkflow(workflowId);
  }
}

/** Stream tokens may be barred from variables. */
export function assertMaySee(access: Access): void {
  if (access.seesVariables) return;
  throw new DomainError(
    "permission_denied",
    "the stream token was made without include_variables; make one with it, or use an API key",
  );
}

type CommandPart =
  | Pick<Extract<Command, { kind: "set_variables" }>, "kind" | "workflowId" | "source" | "items" | "full">
  | Pick<
      Extract<Command, { kind: "delete_variable" }>,
      "kind" | "workflowId" | "name" | "source" | "expectedVersion"
    >;

const valueBytes = (part: CommandPart): number =>
  part.kind === "set_variables"
    ? part.items.reduce((sum, { value }) => sum + Buffer.byteLength(value), 0)
    : 0;

const base = (tenant: string, streamId: string, part: CommandPart) =>
  ({
    tenant,
    streamId,
    lane: "normal",
    entries: part.kind === "set_variables" ? part.items.length : 1,
    bytes:
      part.kind === "set_variables"
        ? part.items.reduce((sum, item) => sum + sizeOfItem(item, part.source), 0)
        : 1024,
    // Sent again it would be another change.
    idempotent: false,
    patienceMs: callerPatienceMs,
  }) as const;

/** What is stored of it, in its row and in its entry; a flat 300 for the rest. */
function sizeOfItem({ name, value, constraints, metadata }: VariableItem, source: string): number {
  let bytes = 300 + name.length + payloadSize(value) + payloadSize(constraints) + payloadSize(source);
  for (const key in metadata) bytes += payloadSize(key) + payloadSize(metadata[key]);
  return bytes;
}

function toItem(assignment: Assignment, { type }: Judged, rulesVersion: number): VariableItem {
  const { name, value, constraints, metadata, clearMetadata, expectedVersion } = assignment;
  return {
    name,
    type,
    value: value.text,
    constraints: constraints === undefined ? undefined : toConstraintsText(constraints),
    metadata,
    clearMetadata,
    expectedVersion,
    rulesVersion,
  };
}

/** JSON with the keys of the proto file in camelCase; "": none. */
function toConstraintsText(constraints: Constraints): string {
  const text = JSON.stringify(constraints);
  return text === "{}" ? "" : text;
}

function assertSource(source: string): void {
  const bytes = payloadSize(source);
  if (bytes <= limits.sourceBytes) return;
  throw new DomainError(
    "invalid_argument",
    `source: must not exceed ${limits.sourceBytes} bytes, found ${bytes}; say it shorter`,
  );
}

/** Each by itself, and all together. */
function assertBounds(assignments: readonly Assignment[]): void {
  const paths = new Map<string, string>();
  let total = 0;
  for (const assignment of assignments) {
    const { path, name, value, constraints } = assignment;
    const other = paths.get(name);
    if (other !== undefined) {
      throw new DomainError(
        "invalid_argument",
        `${path}.name: ${JSON.stringify(name)} is the name of ${other} too; set each variable once in a call`,
      );
    }
    paths.set(name, path);
    const metadataBytes = sizeOfMetadata(assignment);
    if (metadataBytes > limits.variableMetadataBytes) throw largeMetadata(assignment, `${metadataBytes}`);
    total += payloadSize(name) + payloadSize(value.text) + metadataBytes;
    if (constraints !== undefined) total += payloadSize(toConstraintsText(constraints));
  }
  if (assignments.length > 1 && total > limits.assignmentsBytes) {
    throw new DomainError(
      "invalid_argument",
      `assignments: names, values, constraints and metadata together must not exceed ${limits.assignmentsBytes} bytes, found ${total}; set them in several calls`,
    );
  }
}

const sizeOfMetadata = ({ metadata }: Assignment): number => {
  let bytes = 0;
  for (const key in metadata) bytes += payloadSize(key) + payloadSize(metadata[key]);
  return bytes;
};

function largeMetadata({ path, name }: Assignment, found: string): DomainError {
  return new DomainError(
    "invalid_argument",
    `${path}.metadata: keys and values of variable ${JSON.stringify(name)} together must not exceed ${limits.variableMetadataBytes} bytes, found ${found === "merged into what there is" ? `more, ${found}` : found}; leave some out, or set clear_metadata`,
  );
}

type Expecting = Pick<Assignment, "path" | "name" | "expectedVersion">;

/** Conflicts that an error's details name: they travel in trailers. */
const namedConflicts = 8;

function conflictError(found: readonly (readonly [Expecting, version: number])[]): DomainError {
  const [first] = found;
  const [{ path, name, expectedVersion }, version] = first as (typeof found)[0];
  const state = version === 0 ? "does not exist" : `has version ${version}`;
  const expected = expectedVersion === 0 ? "which must not exist" : `expected at version ${expectedVersion}`;
  const more = found.length > 1 ? `, and ${found.length - 1} more are not as expected` : "";
  return new DomainError(
    "aborted",
    `${path === "" ? "" : `${path}.`}expected_version: variable ${JSON.stringify(name)}, ${expected}, ${state}${more}; read it (GetVariable) and decide anew`,
    { conflicts: found.slice(0, namedConflicts).map(([of, at]) => ({ name: of.name, version: at })) },
  );
}

const unknownVariable = (workflowId: string, name: string) =>
  new DomainError(
    "not_found",
    `name: workflow ${workflowId} has no variable ${JSON.stringify(name)}; ListVariables names those it has`,
    { missingVariables: [name] },
  );
