/**
 * A producer without a session: numbered, it sends each number again, at any instance, until it is told what became of it;
 * not numbered, it tries once. It notes what it was told.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import { AckLevel, EventType } from "../../../gen/tributary/v1/event_pb.ts";
import type { Branch } from "./forest.ts";
import { sayingOf } from "./session-actor.ts";
import { nap, type Stage } from "./stage.ts";

export type Outcome =
  /** Told DURABLE: stored exactly once; the offset, if it was told. */
  | { readonly kind: "durable"; readonly offset: number | undefined }
  /** Told ACCEPTED, or told nothing: stored at most once. */
  | { readonly kind: "unknown" }
  /** Refused: not stored. */
  | { readonly kind: "refused" };

export class SingleProducer {
  readonly name: string;
  readonly branch: Branch;
  readonly isNumbered: boolean;
  /** Of number 1, 2 … */
  readonly outcomes: Outcome[] = [];
  readonly #stage: Stage;

  constructor(stage: Stage, name: string, branch: Branch, isNumbered: boolean) {
    this.#stage = stage;
    this.name = name;
    this.branch = branch;
    this.isNumbered = isNumbered;
  }

  get task(): string {
    return `${this.name}-t`;
  }

  /** Until the play is over, its workflow is closed, or so many were sent. */
  async run(most: number): Promise<void> {
    const { random } = this.#stage;
    while (!this.#stage.over && this.outcomes.length < most) {
      if (this.isNumbered && random.chance(0.2)) await this.#sendMany(1 + random.below(10));
      else this.outcomes.push(await this.#send(this.outcomes.length + 1, random.chance(this.isNumbered ? 0.9 : 0.5)));
      if (this.outcomes.at(-1)?.kind === "refused") return;
      await nap(random.below(120));
    }
  }

  async #send(n: number, waitForDurable: boolean): Promise<Outcome> {
    const request = {
      workflowExecutionId: this.branch.id,
      taskExecutionId: this.task,
      type: EventType.TOKEN,
      payload: sayingOf(this.name, n, 0),
      sequence: BigInt(n),
      producerId: this.isNumbered ? this.name : "",
      waitForDurable,
    };
    const { witness } = this.#stage;
    if (!this.isNumbered) {
      try {
        const { tasks } = this.#stage.anyClients(this.branch.tenant);
        const answer = await tasks.streamTaskData(request, { signal: AbortSignal.timeout(4000) });
        return answer.level === AckLevel.DURABLE
          ? { kind: "durable", offset: Number(answer.offset) }
          : { kind: "unknown" };
      } catch (error) {
        if (witness.excuses(this.name, error, [Code.FailedPrecondition])) return { kind: "unknown" };
        return { kind: "refused" };
      }
    }
    const { answer, tries } = await this.#stage.call(
      this.name,
      this.branch.tenant,
      ({ tasks }, options) => tasks.streamTaskData(request, options),
      [Code.FailedPrecondition],
    );
    if (answer === undefined) return tries > 0 ? { kind: "unknown" } : { kind: "refused" };
    if (answer.level !== AckLevel.DURABLE) return { kind: "unknown" };
    return { kind: "durable", offset: answer.duplicate ? undefined : Number(answer.offset) };
  }

  /** Several by PublishTaskEvents: sent again as a whole. */
  async #sendMany(count: number): Promise<void> {
    const first = this.outcomes.length + 1;
    const events = Array.from({ length: count }, (_, i) => ({
      workflowId: this.branch.id,
      taskExecutionId: this.task,
      type: EventType.DATA,
      payload: { case: "text", value: sayingOf(this.name, first + i, 0) } as const,
      sequence: BigInt(first + i),
    }));
    const { answer, failure } = await this.#stage.call(
      this.name,
      this.branch.tenant,
      ({ tasks }, options) =>
        tasks.publishTaskEvents(
          (async function* (producerId) {
            yield { producerId, events };
          })(this.name),
          options,
        ),
      [Code.FailedPrecondition],
    );
    for (let i = 0; i < count; i++)
      this.outcomes.push(
        answer === undefined ? { kind: "unknown" } : { kind: "durable", offset: undefined },
      );
    if (answer === undefined && ConnectError.from(failure).code === Code.FailedPrecondition)
      this.outcomes.push({ kind: "refused" });
  }
}
