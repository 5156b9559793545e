/** What a busy or leaving server says in a session, said by a script instead of a server; and what the session does then. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test, vi } from "vitest";
import { EntryRejectedError, SessionFailedError } from "../../client/index.ts";
import { toResilience } from "../../client/resilience/options.ts";
import type { Said, SessionKind } from "../../client/write/kinds.ts";
import { Session, type SessionOptions } from "../../client/write/session.ts";
import { AckLevel } from "../../gen/tributary/v1/event_pb.ts";
import {
  RejectionCode,
  SessionClosedReason,
  SessionEndedSchema,
  SessionReplySchema,
  SessionState,
} from "../../gen/tributary/v1/session_pb.ts";
import { until } from "../support/until.ts";

type Reply = NonNullable<MessageInitShape<typeof SessionReplySchema>["message"]>;
/** One connection: hears what the client says, and answers. */
type Server = (hear: () => Promise<Said<string>>) => AsyncGenerator<Reply>;

const id = "0198f3a2-6b1c-7d4e-8f90-a1b2c3d4e5f6";
const initAck = (
  last = 0,
  more: { credit?: number; sessionId?: string; creditBytes?: bigint } = {},
): Reply => ({
  case: "initAck",
  value: { sessionId: id, lastSequence: BigInt(last), credit: 1000, creditBytes: 4_000_000n, ...more },
});
const ack = (upTo: number, credit = 1000): Reply => ({
  case: "ack",
  value: {
    upToSequence: BigInt(upTo),
    level: AckLevel.DURABLE,
    lastOffset: BigInt(100 + upTo),
    credit,
    creditBytes: 4_000_000n,
  },
});
const refused = (code: RejectionCode, sequence: number, expected: number, retryAfterMs = 0): Reply => ({
  case: "rejected",
  value: {
    code,
    sequence: BigInt(sequence),
    expectedSequence: BigInt(expected),
    retryAfterMs,
    final: code >= RejectionCode.INVALID,
    message: "said by the script",
  },
});
const closed = (reason: SessionClosedReason, final = 0, reconnectAfterMs = 0): Reply => ({
  case: "closed",
  value: { reason, finalSequence: BigInt(final), reconnectAfterMs },
});

/** Batches as [first, …entries], other messages by name; connection by connection. */
function scripted(...servers: Server[]) {
  const heard: unknown[][] = [];
  const kind: SessionKind<string> = {
    what: "a script",
    bytesOf: (entry) => entry.length,
    async *call(said) {
      const server = servers[heard.length];
      if (server === undefined) throw new ConnectError("nobody is there", Code.Unavailable);
      const log: unknown[] = [];
      heard.push(log);
      const messages = said[Symbol.asyncIterator]();
      const hear = async () => {
        const { value, done } = await messages.next();
        if (done === true) throw new Error("the client half-closed");
        const message = value as Said<string>;
        log.push(message.case === "batch" ? [message.first, ...message.entries] : message.case);
        return message;
      };
      await hear();
      for await (const message of server(hear)) {
        yield { reply: create(SessionReplySchema, { message }) };
      }
    },
  };
  const open = (options: SessionOptions = {}) =>
    new Session(kind, { resilience: toResilience({ backoff: { firstMs: 1 } }, () => 1) }, options);
  return { heard, open };
}

/** Takes everything, and the end. */
async function* takesAll(hear: () => Promise<Said<string>>): AsyncGenerator<Reply> {
  for (;;) {
    const said = await hear();
    if (said.case === "batch") yield ack(said.first + said.entries.length - 1);
    if (said.case !== "close") continue;
    yield closed(SessionClosedReason.CLIENT, Number(said.value.lastSequence));
    return;
  }
}

async function writeAll(session: Session<string>, ...entries: string[]): Promise<void> {
  for (const entry of entries) await session.write(entry);
}

test.each([
  RejectionCode.SEQUENCE_GAP,
  RejectionCode.OVERLOADED,
  RejectionCode.RATE_LIMITED,
  RejectionCode.PAUSED,
])("goes back to the number that is expected, after answer %s", async (code) => {
  const { heard, open } = scripted(async function* (hear) {
    yield initAck();
    await hear();
    yield refused(code, 2, 2, 30);
    yield ack(1);
    yield* takesAll(hear);
  });
  const session = open();
  await session.opened;
  await writeAll(session, "a", "b", "c");
  await session.close();
  expect(heard).toEqual([["init", [1, "a", "b", "c"], [2, "b", "c"], "close"]]);
});

// It waited for news then, until its next heartbeat.
test.each([30, 31])(
  "goes on at once when a wait of %i ms is over just while it is looked at",
  async (retryAfterMs) => {
    const { heard, open } = scripted(async function* (hear) {
      yield initAck();
      await hear();
      yield refused(RejectionCode.OVERLOADED, 1, 1, retryAfterMs);
      yield* takesAll(hear);
    });
    // Each look at the clock takes a millisecond: the end of the wait lies between two of them.
    let now = Date.now();
    vi.spyOn(Date, "now").mockImplementation(() => ++now);
    try {
      const session = open();
      await session.opened;
      await writeAll(session, "a");
      await session.close();
    } finally {
      vi.restoreAllMocks();
    }
    expect(heard).toEqual([["init", [1, "a"], [1, "a"], "close"]]);
  },
);

test("waits as long as it is told before it tries again, and a little more than others", async () => {
  let refusedAt = 0;
  let triedAt = 0;
  const { open } = scripted(async function* (hear) {
    yield initAck();
    await hear();
    refusedAt = performance.now();
    yield refused(RejectionCode.OVERLOADED, 1, 1, 80);
    const again = await hear();
    triedAt = performance.now();
    if (again.case === "batch") yield ack(1);
    yield* takesAll(hear);
  });
  const session = open();
  await session.write("a");
  await session.close();
  expect(triedAt - refusedAt).toBeGreaterThan(95);
});

test("does not go back for a duplicate, and ends on what it did wrong itself", async () => {
  const { heard, open } = scripted(async function* (hear) {
    yield initAck();
    await hear();
    yield refused(RejectionCode.SEQUENCE_DUPLICATE, 1, 2);
    yield ack(1);
    await hear();
    yield refused(RejectionCode.BAD_MESSAGE, 0, 2);
  });
  const session = open();
  await session.write("a");
  await session.flush();
  await session.write("b");
  await expect(session.closed).rejects.toThrow("did not understand: said by the script");
  expect(heard).toEqual([["init", [1, "a"], [2, "b"]]]);
});

test("sends no more than the credit allows, in entries and in bytes, and half of it under pressure", async () => {
  const { heard, open } = scripted(async function* (hear) {
    yield initAck(0, { credit: 2 });
    await hear();
    yield ack(2, 4);
    await hear();
    yield { case: "status", value: { state: SessionState.BACKPRESSURE } };
    yield ack(6, 4);
    await hear();
    yield { case: "status", value: { state: SessionState.ACTIVE } };
    yield* [ack(8)];
    yield* takesAll(hear);
  });
  const session = open();
  await session.opened;
  await writeAll(session, ..."abcdefghij");
  await session.close();
  expect(heard[0]).toEqual(["init", [1, "a", "b"], [3, ..."cdef"], [7, "g", "h"], [9, "i", "j"], "close"]);

  const bytes = scripted(async function* (hear) {
    yield initAck(0, { creditBytes: 10n });
    await hear();
    yield ack(2);
    yield* takesAll(hear);
  });
  const small = bytes.open();
  await small.opened;
  await writeAll(small, "1234", "5678", "9012");
  await small.close();
  expect(bytes.heard[0]).toEqual(["init", [1, "1234", "5678"], [3, "9012"], "close"]);
});

test("after CREDIT_EXCEEDED it waits for an ack", async () => {
  const { heard, open } = scripted(async function* (hear) {
    yield initAck();
    await hear();
    yield refused(RejectionCode.CREDIT_EXCEEDED, 3, 3);
    yield ack(2);
    yield* takesAll(hear);
  });
  const session = open();
  await session.opened;
  await writeAll(session, "a", "b", "c");
  await session.close();
  expect(heard[0]).toEqual(["init", [1, "a", "b", "c"], [3, "c"], "close"]);
});

test("after a lost connection it sends again exactly what the server does not have", async () => {
  const { heard, open } = scripted(
    async function* (hear) {
      yield initAck();
      await hear();
      yield ack(1);
      throw new ConnectError("cut", Code.Aborted);
    },
    async function* (hear) {
      yield initAck(2);
      yield* takesAll(hear);
    },
  );
  const session = open();
  await session.opened;
  const written = [];
  for (const entry of ["a", "b", "c"]) written.push((await session.write(entry)).settled);
  await session.close();
  expect(heard).toEqual([
    ["init", [1, "a", "b", "c"]],
    ["init", [3, "c"], "close"],
  ]);
  // The second one is known from the resume alone.
  expect((await Promise.all(written)).map(({ offset }) => offset)).toEqual([101n, undefined, 103n]);
});

test("a final rejection that was lost with the connection is told with the resume", async () => {
  const { open } = scripted(
    async function* (hear) {
      yield initAck();
      await hear();
      throw new ConnectError("cut", Code.Aborted);
    },
    async function* (hear) {
      const { value } = initAck(2) as { value: object };
      const rejected = [{ sequence: 2n, code: RejectionCode.INVALID, final: true, message: "bad" }];
      yield { case: "initAck", value: { ...value, rejected } };
      yield* takesAll(hear);
    },
  );
  const session = open();
  await session.opened;
  await session.write("a");
  const { settled } = await session.write("b");
  await expect(settled).rejects.toThrow(EntryRejectedError);
  await session.close();
});

test("comes back to a draining server, or another one, after the time it says", async () => {
  let leftAt = 0;
  const { heard, open } = scripted(
    async function* (hear) {
      yield initAck();
      await hear();
      yield ack(1);
      leftAt = performance.now();
      yield closed(SessionClosedReason.DRAINING, 1, 60);
    },
    async function* (hear) {
      expect(performance.now() - leftAt).toBeGreaterThan(55);
      yield initAck(1);
      yield* takesAll(hear);
    },
  );
  const session = open();
  await session.write("a");
  await session.flush();
  await session.write("b");
  await session.close();
  expect(heard).toEqual([
    ["init", [1, "a"]],
    ["init", [2, "b"], "close"],
  ]);
});

test("when the lease is over while it was away, a new session gets what was not settled", async () => {
  const ended = new ConnectError("ended", Code.FailedPrecondition, { "tributary-error": "1" });
  ended.details.push({ desc: SessionEndedSchema, value: { lastSequence: 2n } });
  const { heard, open } = scripted(
    async function* (hear) {
      yield initAck();
      await hear();
      throw new ConnectError("cut", Code.Aborted);
    },
    // biome-ignore lint/correctness/useYield: it is refused
    async function* () {
      throw ended;
    },
    async function* (hear) {
      yield initAck(0, { sessionId: "another" });
      yield* takesAll(hear);
    },
  );
  const session = open();
  await session.opened;
  await writeAll(session, "a", "b", "c");
  await session.close();
  expect(heard).toEqual([["init", [1, "a", "b", "c"]], ["init"], ["init", [1, "c"], "close"]]);
  expect(session.sessionId).toBe("another");
  expect(session.settled).toBe(3);
});

test("a close whose answer was lost is done", async () => {
  const ended = new ConnectError("ended", Code.FailedPrecondition, { "tributary-error": "1" });
  ended.details.push({ desc: SessionEndedSchema, value: { lastSequence: 1n } });
  const { open } = scripted(
    async function* (hear) {
      yield initAck();
      await hear();
      yield ack(1);
      await hear();
      throw new ConnectError("cut", Code.Aborted);
    },
    // biome-ignore lint/correctness/useYield: it is refused
    async function* () {
      throw ended;
    },
  );
  const session = open();
  await session.write("a");
  await session.close();
});

test("a server that was restored to an earlier state is not written to", async () => {
  const { open } = scripted(
    async function* (hear) {
      yield initAck();
      await hear();
      yield ack(2);
      throw new ConnectError("cut", Code.Aborted);
    },
    async function* () {
      yield initAck(1);
    },
  );
  const session = open();
  await writeAll(session, "a", "b");
  await expect(session.closed).rejects.toThrow(/was restored to an earlier state/);
  await expect(session.write("c")).rejects.toThrow(SessionFailedError);
});

test("paused, it says so and sends nothing until it is resumed; also after a lost connection", async () => {
  const { heard, open } = scripted(
    async function* (hear) {
      yield initAck();
      await hear();
      throw new ConnectError("cut", Code.Aborted);
    },
    async function* (hear) {
      yield initAck();
      yield* takesAll(hear);
    },
  );
  const session = open();
  await session.opened;
  session.pause();
  await until(() =>
    expect(heard).toEqual([
      ["init", "flow"],
      ["init", "flow"],
    ]),
  );
  await session.write("a");
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(heard[1]).toEqual(["init", "flow"]);
  session.resume();
  await session.close();
  expect(heard[1]).toEqual(["init", "flow", "flow", [1, "a"], "close"]);
});

test("says something every 15 s, so that the server knows it is there", async () => {
  const { heard, open } = scripted(async function* (hear) {
    yield initAck();
    for (;;) await hear();
  });
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    const stop = new AbortController();
    const session = open({ signal: stop.signal });
    await session.opened;
    await vi.advanceTimersByTimeAsync(14_000);
    expect(heard).toEqual([["init"]]);
    await vi.advanceTimersByTimeAsync(17_000);
    expect(heard).toEqual([["init", "heartbeat", "heartbeat"]]);
    stop.abort();
    await session.closed.catch(() => {});
  } finally {
    vi.useRealTimers();
  }
});

test("gives up after as many failures in a row as it may have", async () => {
  let calls = 0;
  const session = new Session<string>(
    {
      what: "a script",
      bytesOf: () => 1,
      // biome-ignore lint/correctness/useYield: it is refused
      async *call() {
        calls += 1;
        throw new ConnectError("cut", Code.Aborted);
      },
    },
    { resilience: toResilience({ backoff: { firstMs: 1 }, streamAttempts: 3 }) },
    {},
  );
  await expect(session.closed).rejects.toMatchObject({ cause: { code: Code.Aborted } });
  expect(calls).toBe(3);
});
