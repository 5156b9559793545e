/**
 * Many streams of events over one call (StreamMany), for browsers that have six connections to a host. To a stream it looks
 * like a call of its own: it opens, is cancelled and fails by itself; a call that breaks breaks for all, and each resumes.
 *
 * Who joins makes the call begin anew, for all of them where they stand. A stream that is not read keeps at most a few
 * messages; then it is left out until they are read, so it costs no memory and delays nobody.
 */
import { type CallOptions, type Client, Code, ConnectError } from "@connectrpc/connect";
import type { StreamMessage } from "../../gen/tributary/v1/event_pb.ts";
import type {
  EventStreamService,
  StreamManyResponse,
  StreamScope,
} from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { asConnectError } from "../resilience/errors.ts";
import type { Call } from "../stream-call.ts";
import type { EventAnswer, StreamOptionsInit } from "./follow.ts";

export interface SharedTarget {
  readonly workflowId: string;
  readonly taskExecutionId?: string;
  readonly scope: StreamScope;
  readonly options: StreamOptionsInit;
}

/** What begins together shares a call from the beginning. */
const joinMs = 10;
/** Who left, or fell behind, need not be noticed at once. */
const changeMs = 250;
const mostWaiting = 4;
const mostMembers = 500;

interface Member {
  readonly label: string;
  readonly target: SharedTarget;
  readonly call: Call;
  start: StreamOptionsInit["start"];
  epoch: bigint;
  opened: boolean;
  readonly waiting: EventAnswer[];
  /** Messages were dropped after those that wait. */
  behind: boolean;
  over: boolean;
  error: ConnectError | undefined;
  wake(): void;
}

export class SharedCall {
  readonly #streams: Pick<Client<typeof EventStreamService>, "streamMany">;
  readonly #members = new Map<string, Member>();
  #current = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #dueMs = 0;
  #labels = 0;

  constructor(streams: Pick<Client<typeof EventStreamService>, "streamMany">) {
    this.#streams = streams;
  }

  /** Messages that wait for their readers. */
  get held(): number {
    return [...this.#members.values()].reduce((sum, { waiting }) => sum + waiting.length, 0);
  }

  async *open(target: SharedTarget, call: Call): AsyncGenerator<EventAnswer> {
    if (this.#members.size >= mostMembers) {
      throw new ConnectError(`more than ${mostMembers} streams share a call`, Code.ResourceExhausted);
    }
    const member = this.#join(target, call);
    const wake = () => member.wake();
    call.signal.addEventListener("abort", wake);
    try {
      for (;;) {
        call.signal.throwIfAborted();
        const answer = member.waiting.shift();
        if (answer !== undefined) {
          yield answer;
          if (member.behind && member.waiting.length === 0) this.#beginAnew(changeMs);
        } else if (!member.over) {
          await new Promise<void>((resolve) => {
            member.wake = resolve;
          });
        } else if (member.error !== undefined) throw member.error;
        else return;
      }
    } finally {
      call.signal.removeEventListener("abort", wake);
      this.#members.delete(member.label);
      if (this.#members.size === 0) this.#stop();
      else if (!member.over) this.#beginAnew(changeMs);
    }
  }

  #join(target: SharedTarget, call: Call): Member {
    const label = String(++this.#labels);
    const member: Member = {
      label,
      target,
      call,
      start: target.options.start,
      epoch: target.options.expectedEpoch ?? 0n,
      opened: false,
      waiting: [],
      behind: false,
      over: false,
      error: undefined,
      wake: () => {},
    };
    this.#members.set(label, member);
    this.#beginAnew(joinMs);
    return member;
  }

  /** Soon: what else changes until then is part of it. */
  #beginAnew(inMs: number): void {
    const dueMs = Date.now() + inMs;
    if (this.#timer !== undefined && this.#dueMs <= dueMs) return;
    clearTimeout(this.#timer);
    this.#dueMs = dueMs;
    this.#timer = setTimeout(() => void this.#begin(), inMs);
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#current.abort();
  }

  async #begin(): Promise<void> {
    this.#stop();
    const own = new AbortController();
    this.#current = own;
    const members = [...this.#members.values()].filter((member) => {
      if (member.behind && member.waiting.length === 0) member.behind = false;
      return !member.over && !member.behind;
    });
    if (members.length === 0) return;
    const targets = members.map(({ label, target, start, epoch }) => ({
      ...target,
      label,
      options: { ...target.options, ...(start === undefined ? {} : { start }), expectedEpoch: epoch },
    }));
    let error: ConnectError | undefined;
    try {
      const options: CallOptions = { signal: own.signal };
      const contextValues = members.at(-1)?.call.contextValues;
      if (contextValues !== undefined) options.contextValues = contextValues;
      for await (const answer of this.#streams.streamMany({ targets }, options)) {
        if (own.signal.aborted) return;
        this.#deliver(answer);
      }
    } catch (thrown) {
      error = asConnectError(thrown);
    }
    if (own.signal.aborted) return;
    // Who is behind comes again when it has read what waits.
    for (const member of members) if (!member.behind) end(member, error);
  }

  #deliver({ label, result }: StreamManyResponse): void {
    const member = this.#members.get(label);
    if (member === undefined || member.over || member.behind) return;
    if (result.case === "error") end(member, toConnectError(result.value));
    else if (result.case === "message") take(member, result.value);
  }
}

function take(member: Member, message: StreamMessage): void {
  const said = message.message;
  if (said.case === "opened") {
    member.epoch = said.value.epoch;
    if (member.opened) return; // for this stream the call never broke
    member.opened = true;
  }
  if (member.waiting.length >= mostWaiting) {
    member.behind = true;
    return;
  }
  member.waiting.push({ message });
  const offset = offsetOf(said);
  if (offset !== undefined) member.start = { case: "afterOffset", value: offset };
  if (said.case === "ended" || said.case === "closing") member.over = true;
  member.wake();
}

function offsetOf(said: StreamMessage["message"]): bigint | undefined {
  switch (said.case) {
    case "opened":
      return said.value.startOffset;
    case "events":
      return said.value.events.at(-1)?.offset;
    case "heartbeat":
      return said.value.offset;
    case "gap":
      return said.value.toOffset;
    default:
      return undefined;
  }
}

function end(member: Member, error: ConnectError | undefined): void {
  if (member.over) return;
  member.over = true;
  member.error = error;
  member.wake();
}

/** As if it had come with a status of its own. */
function toConnectError({
  code,
  message,
}: {
  readonly code: string;
  readonly message: string;
}): ConnectError {
  const name = code.replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
  const known = (Code as unknown as Readonly<Record<string, Code | undefined>>)[name];
  return new ConnectError(message, known ?? Code.Unknown, { "tributary-error": code });
}
