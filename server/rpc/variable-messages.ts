/** Variables, assignments and updates between proto and core. */
import { create, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import {
  type VariableAssignment,
  type VariableConstraints,
  VariableConstraintsSchema,
  type VariableSchema,
  type VariableType,
  type VariableUpdate as VariableUpdateMessage,
  VariableUpdateSchema,
  VariableUpdateType,
} from "../../gen/tributary/v1/variable_service_pb.ts";
import type { Assignment } from "../core/variables/constraints.ts";
import type { VariableUpdate } from "../core/variables/update.ts";
import type { Constraints, Variable } from "../core/variables/variable.ts";
import type { Stored } from "../core/variables/variables.ts";
import { toGivenValue, toValue } from "./variable-values.ts";

/** `path` is the place in the request that a message names. Throws invalid_argument for the value. */
export function toAssignment(message: VariableAssignment, path: string): Assignment {
  return {
    path,
    name: message.name,
    type: message.type,
    value: toGivenValue(message.value, `${path}.value`),
    constraints: message.constraints && toConstraints(message.constraints),
    metadata: message.metadata,
    clearMetadata: message.clearMetadata,
    expectedVersion: toExpected(message.expectedVersion),
  };
}

/** No version is greater than 2^53-1: one that is expected to be is never met. */
export const toExpected = (version: bigint | undefined): number | undefined =>
  version === undefined ? undefined : Math.min(Number(version), 2 ** 53);

const toConstraints = (message: VariableConstraints): Constraints => ({
  min: message.min,
  max: message.max,
  minLength: message.minLength,
  maxLength: message.maxLength,
  pattern: message.pattern === "" ? undefined : message.pattern,
  choices: message.choices.length === 0 ? undefined : message.choices,
});

export const toConstraintsMessage = ({
  min,
  max,
  minLength,
  maxLength,
  pattern,
  choices,
}: Constraints): MessageShape<typeof VariableConstraintsSchema> =>
  create(VariableConstraintsSchema, {
    ...(min === undefined ? {} : { min }),
    ...(max === undefined ? {} : { max }),
    ...(minLength === undefined ? {} : { minLength }),
    ...(maxLength === undefined ? {} : { maxLength }),
    pattern: pattern ?? "",
    choices: [...(choices ?? [])],
  });

export const toVariableMessage = (variable: Variable): MessageInitShape<typeof VariableSchema> => ({
  workflowId: variable.workflowId,
  name: variable.name,
  type: variable.type as VariableType,
  value: toValue(variable.value),
  ...(variable.constraints && { constraints: toConstraintsMessage(variable.constraints) }),
  metadata: { ...variable.metadata },
  version: BigInt(variable.version),
  source: variable.source,
  offset: BigInt(variable.offset),
  createdMs: BigInt(variable.createdMs),
  updatedMs: BigInt(variable.updatedMs),
});

/** A variable that was just set, with the value from the request. */
export function toStoredMessage(
  stored: Stored,
  { name, value }: VariableAssignment,
  source: string,
  full: boolean,
): MessageInitShape<typeof VariableSchema> {
  return {
    workflowId: stored.workflowId,
    name,
    type: stored.type as VariableType,
    ...(value && { value }),
    ...(full && stored.constraints && { constraints: toConstraintsMessage(stored.constraints) }),
    metadata: full ? { ...stored.metadata } : {},
    version: BigInt(stored.version),
    source,
    offset: BigInt(stored.offset),
    createdMs: BigInt(stored.createdMs),
    updatedMs: BigInt(stored.updatedMs),
  };
}

export const updateTypes: Record<VariableUpdate["kind"], VariableUpdateType> = {
  initial: VariableUpdateType.INITIAL_VALUE,
  set: VariableUpdateType.VALUE_CHANGE,
  deleted: VariableUpdateType.DELETED,
};

export function toUpdateMessage(update: VariableUpdate): VariableUpdateMessage {
  const { variable, oldValue } = update.content();
  return create(VariableUpdateSchema, {
    updateType: updateTypes[update.kind],
    variable: toVariableMessage(variable),
    ...(oldValue !== undefined && { oldValue: toValue(oldValue) }),
    source: variable.source,
    metadata: { ...variable.metadata },
    offset: BigInt(update.offset),
    timestampMs: BigInt(variable.updatedMs),
    replaced: update.replaced,
  });
}
