/**
 * A call that is a session: what PublishTaskStream and ObserveStream have in common. Each entry is judged by itself: one that
 * is wrong is rejected by its number and ends nothing. What is wrong with the call itself (no init, a second one) is its
 * status.
 */
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import type {
  SessionClose,
  SessionFlow,
  SessionHeartbeat,
  SessionInit,
} from "../../gen/tributary/v1/session_pb.ts";
import { toCallOwner } from "../auth/principal.ts";
import type { Access } from "../core/access.ts";
import { DomainError } from "../core/errors.ts";
import type { SessionInput } from "../core/session/messages.ts";
import type { Sessions, SessionTarget } from "../core/session/sessions.ts";
import { accessOf, principalOf, traceOf } from "./context.ts";
import { type LogBug, toCallError } from "./error-mapping.ts";
import { fromClose, fromFlow, toReply, toSessionInit } from "./session-messages.ts";
import { invalidReason } from "./validation.ts";

export interface SessionCallDeps {
  readonly sessions: Sessions;
  readonly logBug: LogBug;
}

/** What a session's client says after init; `batch` is of its own kind. */
type SaidInSession<Batch> =
  | { readonly case: "batch"; readonly value: Batch }
  | { readonly case: "flow"; readonly value: SessionFlow }
  | { readonly case: "close"; readonly value: SessionClose }
  | { readonly case: "heartbeat"; readonly value: SessionHeartbeat }
  | { readonly case: undefined; readonly value?: undefined };

interface SessionRequest<Init, Batch> {
  readonly operation: { readonly case: "init"; readonly value: Init } | SaidInSession<Batch>;
}

/** A kind of session. */
export interface SessionKind<InitSchema extends DescMessage, Batch> {
  readonly initSchema: InitSchema;
  /** Where init says that it writes, and how its batches are read. */
  open(
    access: Access,
    init: MessageShape<InitSchema>,
  ): Promise<{ readonly target: SessionTarget; readonly toBatch: (batch: Batch) => SessionInput }>;
}

export async function* sessionCall<InitSchema extends DescMessage, Batch>(
  deps: SessionCallDeps,
  kind: SessionKind<InitSchema, Batch>,
  requests: AsyncIterable<
    SessionRequest<MessageShape<InitSchema> & { session?: SessionInit | undefined }, Batch>
  >,
  context: HandlerContext,
) {
  try {
    const messages = requests[Symbol.asyncIterator]();
    const first = await messages.next();
    if (first.done === true) return;
    const { operation } = first.value;
    if (operation.case !== "init") throw notInit(operation.case);
    assertValidInit(kind.initSchema, operation.value);
    const access = accessOf(context);
    const { target, toBatch } = await kind.open(access, operation.value);
    const replies = deps.sessions.run(
      access,
      toCallOwner(principalOf(context)),
      { ...toSessionInit(operation.value.session, target), trace: traceOf(context) },
      toInputs(messages, toBatch),
      context.signal,
    );
    for await (const reply of replies) yield { reply: toReply(reply) };
  } catch (error) {
    throw toCallError(error, context, deps.logBug);
  }
}

async function* toInputs<Batch>(
  messages: AsyncIterator<SessionRequest<unknown, Batch>>,
  toBatch: (batch: Batch) => SessionInput,
): AsyncGenerator<SessionInput> {
  for (;;) {
    const next = await messages.next();
    if (next.done === true) return;
    const { operation } = next.value;
    if (operation.case === "init") throw secondInit();
    yield toSessionInput(operation, toBatch);
  }
}

export function toSessionInput<Batch>(
  said: SaidInSession<Batch>,
  toBatch: (batch: Batch) => SessionInput,
): SessionInput {
  switch (said.case) {
    case "batch":
      return toBatch(said.value);
    case "flow":
      return fromFlow(said.value);
    case "close":
      return fromClose(said.value);
    case "heartbeat":
      return { kind: "heartbeat" };
    default:
      return { kind: "bad", message: "operation: none is set; send init, batch, flow, close or heartbeat" };
  }
}

export function assertValidInit<Desc extends DescMessage>(schema: Desc, init: MessageShape<Desc>): void {
  const reason = invalidReason(schema, init);
  if (reason !== undefined) throw new DomainError("invalid_argument", reason);
}

const notInit = (found: string | undefined) =>
  new DomainError(
    "failed_precondition",
    `operation: the first message of a session is init, found ${found ?? "none"}`,
  );

const secondInit = () =>
  new DomainError(
    "failed_precondition",
    "operation: a session begins with one init; open another call for another session",
  );
