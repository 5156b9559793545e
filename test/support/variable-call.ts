/** Calls of VariableService for tests: values as plain JSON, and watches checked against what holds for every watch. */
import { fromJson, type JsonValue, type MessageInitShape, toJson } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { expect } from "vitest";
import {
  type Variable,
  type VariableAssignmentSchema,
  type VariableUpdate,
  VariableUpdateType,
  type WatchVariablesRequestSchema,
  type WatchVariablesResponse,
} from "../../gen/tributary/v1/variable_service_pb.ts";
import { ReadingCall } from "./reading-call.ts";
import type { Clients } from "./server.ts";

const { INITIAL_VALUE, VALUE_CHANGE, DELETED } = VariableUpdateType;

export const json = (value: JsonValue): Value => fromJson(ValueSchema, value);
export const plain = (value: Value | undefined): JsonValue | undefined => value && toJson(ValueSchema, value);

type Fields<S> = S extends { $typeName: string } ? never : S;
export type AssignmentInit = Partial<Fields<MessageInitShape<typeof VariableAssignmentSchema>>>;
export type WatchInit = Fields<MessageInitShape<typeof WatchVariablesRequestSchema>>;

const isValue = (value: JsonValue | Value): value is Value =>
  typeof value === "object" && value !== null && "$typeName" in value;

export const assign = (name: string, value: JsonValue | Value, rest: AssignmentInit = {}) => ({
  name,
  value: isValue(value) ? value : json(value),
  ...rest,
});

export async function setVariable(
  { variables }: Clients,
  workflowId: string,
  name: string,
  value: JsonValue | Value,
  rest: AssignmentInit = {},
): Promise<Variable> {
  const assignment = assign(name, value, rest);
  const { variable } = await variables.setVariable({ workflowId, assignment, source: "test" });
  if (variable === undefined) throw new Error("no variable in the answer");
  return variable;
}

export async function getVariable(
  { variables }: Clients,
  workflowId: string,
  name: string,
): Promise<Variable> {
  const { variable } = await variables.getVariable({ workflowId, name });
  if (variable === undefined) throw new Error("no variable in the answer");
  return variable;
}

/** How a call failed. */
export async function failureOf(call: Promise<unknown>): Promise<ConnectError> {
  return call.then(
    () => {
      throw new Error("it was taken");
    },
    (error) => ConnectError.from(error),
  );
}

/** As "set a=1 v1"; shorter to compare. */
export function shown({ updateType, variable }: VariableUpdate): string {
  const what = { [INITIAL_VALUE]: "initial", [VALUE_CHANGE]: "set", [DELETED]: "deleted" }[
    updateType as 1 | 2 | 3
  ];
  return `${what} ${variable?.name}=${JSON.stringify(plain(variable?.value))} v${variable?.version}`;
}

/** A watch that is read as fast as it sends, until it ends or is stopped. */
export class Watching extends ReadingCall<WatchVariablesResponse> {
  readonly cases: string[] = [];
  readonly updates: VariableUpdate[] = [];
  readonly batches: VariableUpdate[][] = [];
  readonly messages: WatchVariablesResponse["message"][] = [];
  #position = 0n;

  constructor({ variables }: Clients, request: WatchInit) {
    super((options) => variables.watchVariables(request, options));
  }

  protected override get hasLast(): boolean {
    return ["ended", "closing"].includes(this.cases.at(-1) ?? "");
  }

  protected override hear({ message }: WatchVariablesResponse): void {
    if (message.case === undefined) throw new Error("a message without content");
    if ((message.case === "opened") !== (this.cases.length === 0)) {
      throw new Error(`${message.case} as message ${this.cases.length}`);
    }
    this.cases.push(message.case);
    this.messages.push(message);
    if (message.case === "opened") this.#position = message.value.startOffset;
    if (message.case === "heartbeat") {
      expect(message.value.offset).toBeGreaterThanOrEqual(this.#position);
      this.#position = message.value.offset;
    }
    if (message.case === "gap") this.#position = message.value.toOffset;
    if (message.case === "snapshotComplete") {
      expect(message.value.offset).toBeGreaterThanOrEqual(this.#position);
      this.#position = message.value.offset;
    }
    if (message.case !== "updates") return;
    const { updates } = message.value;
    if (updates.length === 0 || updates.length > 1000) throw new Error(`a batch of ${updates.length}`);
    for (const update of updates) {
      if (update.updateType === INITIAL_VALUE) {
        expect(update.offset).toBeGreaterThanOrEqual(this.#position);
      } else {
        expect(update.offset).toBeGreaterThan(this.#position);
        this.#position = update.offset;
      }
    }
    this.batches.push(updates);
    this.updates.push(...updates);
  }

  get shown(): string[] {
    return this.updates.map(shown);
  }

  message<C extends NonNullable<WatchVariablesResponse["message"]["case"]>>(
    wanted: C,
  ): Extract<WatchVariablesResponse["message"], { case: C }>["value"] | undefined {
    return this.messages.find((message) => message.case === wanted)?.value as never;
  }

  /** Waits until it is live. */
  open(): Promise<this> {
    return this.until(() => expect(this.cases).toContain("opened"));
  }
}
