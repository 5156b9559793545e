/**
 * A producer without a session: numbered, it sends each number again, at any instance, until it is told what became of it;
 * not numbered, it tries once. It notes what it was told.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import { AckLevel, EventType } from "../../../gen/tributary/v1/event_pb.ts";
import type { Branch } from "./forest.ts";
import { sayingOf } from "./session-actor.ts";
import { nap, type Stage } from "./stage.ts";

const patienceMs = 4000;

export type Outcome =
  /** Told DURABLE: stored exactly once; the offset, if it was told. */
  | { readonly kind: "durable"; readonly offset: number | undefined }
  /** Told ACCEPTED, or told nothing: stored at most once. */
  | { readonly kind: "unknown" }
  /** There was no room: not stored. */
  | { readonly kind: "full" }
  /** Refused for good: not stored. */
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

  says(n: number): string {
    return sayingOf(this.name, n, 0);
  }

  /** Until the play is over, its workflow is closed, or so many were sent. */
  async run(most: number): Promise<void> {
    const { random } = this.#stage;
    while (!this.#stage.over && this.outcomes.length < most) {
      if (this.isNumbered && random.chance(0.2)) await this.#sendMany(1 + random.below(10));
      else if (this.isNumbered) this.outcomes.push(await this.#send(this.outcomes.length + 1));
      else this.outcomes.push(await this.#sendOnce(this.outcomes.length + 1, random.chance(0.5)));
      if (this.outcomes.at(-1)?.kind === "refused") return; // its workflow is closed
      await nap(random.below(120));
    }
  }

  /** Whatever the answer. */
  async #sendOnce(n: number, waitForDurable: boolean): Promise<Outcome> {
    const { tasks } = this.#stage.anyClients(this.branch.tenant);
    try {
      const options = { signal: AbortSignal.timeout(patienceMs) };
      const answer = await tasks.streamTaskData(this.#request(n, waitForDurable), options);
      return answer.level === AckLevel.DURABLE
        ? { kind: "durable", offset: Number(answer.offset) }
        : { kind: "unknown" };
    } catch (error) {
      const excused = this.#stage.witness.excuses(this.name, error, [Code.FailedPrecondition]);
      if (!excused) return { kind: "refused" };
      const isFull = error instanceof ConnectError && error.code === Code.ResourceExhausted;
      return { kind: isFull ? "full" : "unknown" };
    }
  }

  /** Until it is told what became of it. */
  async #send(n: number): Promise<Outcome> {
    const request = this.#request(n, this.#stage.random.chance(0.9));
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

  #request(n: number, waitForDurable: boolean) {
    return {
      workflowExecutionId: this.branch.id,
      taskExecutionId: this.task,
      type: EventType.TOKEN,
      payload: this.says(n),
      sequence: BigInt(n),
      producerId: this.isNumbered ? this.name : "",
      waitForDurable,
    };
  }

  /** Several by PublishTaskEvents: sent again as a whole. */
  async #sendMany(count: number): Promise<void> {
    const first = this.outcomes.length + 1;
    const events = Array.from({ length: count }, (_, i) => ({
      workflowId: this.branch.id,
      taskExecutionId: this.task,
      type: EventType.DATA,
      payload: { case: "text", value: this.says(first + i) } as const,
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
      this.outcomes.push(answer === undefined ? { kind: "unknown" } : { kind: "durable", offset: undefined });
    if (answer === undefined && ConnectError.from(failure).code === Code.FailedPrecondition)
      this.outcomes.push({ kind: "refused" });
  }
}
