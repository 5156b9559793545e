/**
 * A worker with a session, of task events or of observations, that goes on at another instance whenever its connection breaks
 * or falls silent. After each resume it says what it has not yet settled anew, with the number of its connection in it: so it
 * can be seen who wrote what is stored.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import { AckLevel, EventType } from "../../../gen/tributary/v1/event_pb.ts";
import { Priority, type SessionReply } from "../../../gen/tributary/v1/session_pb.ts";
import { type SessionRpc, SessionWriter } from "../../support/session-client.ts";
import type { Branch } from "./forest.ts";
import type { Instance } from "./instance.ts";
import type { Stage } from "./stage.ts";

/** Without progress for so long it tries another instance, ms. */
const silenceMs = 2500;
const lookMs = 250;

/** An entry that can never be stored. */
const poisonEvery = 997;
/** Tasks follow one another, each ends with its last entry. */
const taskLength = 400;

export interface SessionActorOptions {
  readonly name: string;
  readonly branch: Branch;
  readonly entries: number;
  readonly kind: "events" | "observations";
  /** It begins there, in the smallest lane, and sends nothing before `flood`, then as fast as it may. */
  readonly flood?: Instance;
}

const types = [EventType.TOKEN, EventType.TOKEN, EventType.PROGRESS, EventType.DATA, EventType.OUTPUT];
const connectionDigits = 4;
const retried = [
  Code.Unavailable,
  Code.Canceled,
  Code.Aborted,
  Code.Internal,
  Code.DeadlineExceeded,
  Code.ResourceExhausted,
  Code.Unknown,
];

/** What entry n says on this connection; the words make some observations findable. */
export const sayingOf = (name: string, n: number, connection: number): string =>
  `${name} ${n} c${String(connection).padStart(connectionDigits, "0")} ${n % 10 === 0 ? "rare" : "common"} ${"x".repeat(n % 60)}`;

/** Which entry of whom this is, and by which connection. */
export function readSaying(text: string): { name: string; n: number; connection: number } | undefined {
  const found = /^(\S+) (\d+) c(\d+) /.exec(text);
  if (found === null) return undefined;
  return { name: found[1] ?? "", n: Number(found[2]), connection: Number(found[3]) };
}

export class SessionActor {
  readonly name: string;
  readonly kind: "events" | "observations";
  readonly branch: Branch;
  readonly writer: SessionWriter;
  readonly entries: number;
  /** What init returned, one for each connection. */
  readonly resumedAt: number[] = [];
  /** Workflows of which it was told that they are to stop. */
  readonly heardCancelled = new Set<string>();
  /** When its newest connection began, ms. */
  connectedMs = 0;
  /** It came to its end. */
  finished = false;
  readonly #stage: Stage;
  #limit = 0;
  readonly #isFlood: boolean;

  constructor(stage: Stage, { name, branch, entries, kind, flood }: SessionActorOptions) {
    this.#stage = stage;
    this.name = name;
    this.kind = kind;
    this.branch = branch;
    this.entries = entries;
    const { random } = stage;
    const acceptedToo = random.chance(0.4);
    const batch = 20 + random.below(150);
    const clients = () => {
      if (stage.isClosed) throw new ConnectError("the play is over", Code.InvalidArgument);
      this.connectedMs = Date.now();
      if (flood !== undefined && this.writer.connections === 0)
        return stage.cluster.clients(flood, branch.tenant, "flood");
      return stage.anyClients(branch.tenant, "sessions");
    };
    this.writer = new SessionWriter(clients, {
      workflowId: branch.id,
      entries: Array.from({ length: entries }, (_, i) => this.#entry(i + 1)),
      revise: (entry, connection) => {
        const n = readSaying(String(entry.payload?.value))?.n ?? 0;
        return { ...entry, payload: { case: "text", value: sayingOf(name, n, connection) } };
      },
      session: {
        ackLevel: acceptedToo ? AckLevel.ACCEPTED : AckLevel.DURABLE,
        priority: flood === undefined ? Priority.UNSPECIFIED : Priority.HIGH,
      },
      batchSize: () => 1 + random.below(batch),
      retried,
      onReply: (message) => this.#hear(message),
      onFailure: (failure) => void stage.witness.excuses(name, failure, [Code.FailedPrecondition]),
      ...(kind === "observations" ? { call: observe } : {}),
    });
    this.#isFlood = flood !== undefined;
    this.writer.sendUpTo(0);
  }

  /** The pace of all; a flood has its own. */
  sendUpTo(limit: number): void {
    if (this.#isFlood) return;
    this.#limit = limit;
    this.writer.sendUpTo(limit);
  }

  flood(): void {
    this.#limit = this.entries;
    this.writer.sendUpTo(this.entries);
  }

  says(n: number, connection: number): string {
    return sayingOf(this.name, n, connection);
  }

  /** Is entry n refused for good, whatever happens? Its task has ended, or it is malformed. */
  isPoison(n: number): boolean {
    return n % poisonEvery === 0 || (this.kind === "events" && n % taskLength === 1 && n > 1);
  }

  async run(): Promise<void> {
    let settled = -1;
    let sinceMs = Date.now();
    const watch = setInterval(() => {
      const { durable } = this.writer;
      if (durable !== settled) {
        settled = durable;
        sinceMs = Date.now();
      } else if (this.#limit <= durable && durable < this.entries) {
        sinceMs = Date.now(); // there is nothing that it waits for
      } else if (Date.now() - sinceMs > silenceMs) {
        this.#stage.witness.count("sessions that gave up a silent connection");
        sinceMs = Date.now();
        this.writer.cut();
      }
    }, lookMs);
    try {
      await this.writer.run();
      this.finished = true;
    } catch (error) {
      this.#stage.witness.blame(this.name, `ended by ${(error as Error).message}`);
    } finally {
      clearInterval(watch);
    }
    for (const problem of this.writer.problems) this.#stage.witness.blame(this.name, problem);
  }

  #hear(message: SessionReply["message"]): void {
    if (message.case === "initAck") this.resumedAt.push(Number(message.value.lastSequence));
    if (message.case === "cancelRequested") this.heardCancelled.add(message.value.workflowId);
  }

  #entry(n: number) {
    const task = Math.ceil(n / taskLength);
    const isLast = n % taskLength === 0;
    // The first entry of a task is said of the one before, which has ended.
    const isLate = n % taskLength === 1 && n > 1;
    const isMalformed = n % poisonEvery === 0;
    return {
      taskExecutionId: isMalformed ? "" : `${this.name}-t${isLate ? task - 1 : task}`,
      type: isLast && !isMalformed ? EventType.COMPLETED : (types[n % types.length] ?? EventType.TOKEN),
      payload: { case: "text", value: sayingOf(this.name, n, 0) } as const,
    };
  }
}

/** ObserveStream in the words of PublishTaskStream: what the entry says is the content. */
const observe: SessionRpc = ({ memory }, requests, options) =>
  memory.observeStream(toObservations(requests) as never, options);

async function* toObservations(requests: Parameters<SessionRpc>[1]): AsyncGenerator<unknown> {
  for await (const { operation } of requests) {
    if (operation?.case === "init") {
      yield { operation: { case: "init", value: { session: operation.value.session, space: "default" } } };
    } else if (operation?.case === "batch") {
      const { firstSequence, events = [] } = operation.value;
      const observations = events.map(({ payload, taskExecutionId }) => ({
        content: taskExecutionId === "" ? "" : String(payload?.value),
      }));
      yield { operation: { case: "batch", value: { firstSequence, observations } } };
    } else yield { operation };
  }
}
