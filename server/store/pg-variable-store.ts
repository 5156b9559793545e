/** VariableStore on Postgres. */
import type { Pool } from "../../db/pool.ts";
import {
  findVariable,
  listVariables,
  readRules,
  readVariableSnapshot,
  readVariablesAt,
  type VariableAtRow,
  type VariableRow,
} from "../../db/statements/variables.ts";
import { EventType } from "../core/event.ts";
import { limits } from "../core/limits.ts";
import { StoreError } from "../core/ports.ts";
import { toUpdate } from "../core/variables/update.ts";
import type { Constraints, Variable, VariableStore } from "../core/variables/variable.ts";
import { isDatabaseAway } from "./store-errors.ts";

export function createPgVariableStore(pool: Pool): VariableStore {
  return {
    async readRules(owner, names) {
      const rows = await reading(() => readRules(pool, owner, names));
      return new Map(
        rows.map(({ name, constraints, ...row }) => [
          name,
          { ...row, constraints: toConstraints(constraints) },
        ]),
      );
    },

    async find(owner, name) {
      const row = await reading(() => findVariable(pool, owner, name));
      return row && toVariable(owner.workflowId, row);
    },

    async list(owner, size, after) {
      const bounds = { after, limit: size, maxBytes: limits.batchBytes };
      const { rows, more } = await reading(() => listVariables(pool, owner, bounds));
      return { variables: rows.map((row) => toVariable(owner.workflowId, row)), more };
    },

    async readSnapshot(owner, names, limit) {
      const found = await reading(() => readVariableSnapshot(pool, owner, names, limit));
      return found && { offset: found.tailOffset, entries: found.rows };
    },

    async readAt(owner, entries) {
      const names = entries.map(({ name }) => name);
      const offsets = entries.map(({ offset }) => offset);
      const rows = await reading(() => readVariablesAt(pool, owner, names, offsets));
      return rows.flatMap((row) => toVariableAt(owner.workflowId, row) ?? []);
    },
  };
}

async function reading<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw isDatabaseAway(error) ? new StoreError("away", (error as Error).message, error) : error;
  }
}

const toConstraints = (text: string | null): Constraints | undefined =>
  text === null ? undefined : JSON.parse(text);

const toVariable = (workflowId: string, row: VariableRow): Variable => ({
  workflowId,
  name: row.name,
  type: row.type,
  value: JSON.parse(row.value),
  constraints: toConstraints(row.constraints),
  metadata: row.metadata,
  version: row.version,
  source: row.source,
  offset: row.offset,
  createdMs: row.createdMs,
  updatedMs: row.updatedMs,
});

function toVariableAt(workflowId: string, row: VariableAtRow): Variable | undefined {
  if (row.type !== null) return toVariable(workflowId, row);
  if (row.payload === null) return undefined;
  const recordedMs = row.recordedMs ?? 0;
  return toUpdate({
    workflowId,
    taskExecutionId: "",
    producerId: "",
    sequence: 0,
    type: EventType.VARIABLE_SET,
    payload: row.payload,
    timestampMs: recordedMs,
    offset: row.offset,
    recordedMs,
  }).content().variable;
}
