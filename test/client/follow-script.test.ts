/** What a misbehaving or busy server can send, said by a script instead of a server. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import type { FollowItem, OpenStream } from "../../client/read/follow.ts";
import { backoffMs } from "../../client/resilience/backoff.ts";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { StreamMessageSchema } from "../../gen/tributary/v1/event_pb.ts";
import { followBy } from "./follow-by.ts";

type Message = NonNullable<MessageInitShape<typeof StreamMessageSchema>["message"]>;
type Call = readonly (Message | Error)[];

const opened = { case: "opened", value: { epoch: 7n } } as const;
const ended = { case: "ended", value: { finalOffset: 5n } } as const;
const events = (...offsets: number[]) =>
  ({ case: "events", value: { events: offsets.map((offset) => ({ offset: BigInt(offset) })) } }) as const;

/** Each call answers with the next list. `asked`: with which options. */
function script(...calls: Call[]) {
  const asked: Parameters<OpenStream>[0][] = [];
  const open: OpenStream = async function* (options) {
    asked.push(options);
    for (const message of calls[asked.length - 1] ?? []) {
      if (message instanceof Error) throw message;
      yield { message: create(StreamMessageSchema, { message }) };
    }
  };
  return { asked, open };
}

async function gather(items: AsyncIterable<FollowItem>): Promise<FollowItem[]> {
  const all: FollowItem[] = [];
  for await (const item of items) all.push(item);
  return all;
}

const offsetsOf = (items: readonly FollowItem[]) =>
  items.flatMap((item) => (item.kind === "events" ? item.events.map(({ offset }) => Number(offset)) : []));
const noWait = () => 0;
const fromServer = (code: Code) => new ConnectError("said", code, { "grpc-status": String(code) });

test("never yields an offset twice, whatever the server repeats", async () => {
  const { open, asked } = script(
    [opened, events(1, 2)],
    [opened, events(1, 2, 3), events(2, 3), events(4), ended],
  );
  expect(offsetsOf(await gather(followBy(open, {}, noWait)))).toEqual([1, 2, 3, 4]);
  expect(asked.map(({ start }) => start?.value)).toEqual([0n, 2n]);
});

test("a heartbeat moves the position, a gap too", async () => {
  const { open, asked } = script(
    [opened, { case: "heartbeat", value: { offset: 9n } }],
    [opened, { case: "gap", value: { fromOffset: 10n, toOffset: 20n } }],
    [opened, ended],
  );
  const items = await gather(followBy(open, {}, noWait));
  expect(asked.map(({ start }) => start?.value)).toEqual([0n, 9n, 20n]);
  expect(items.filter(({ kind }) => kind === "gap")).toHaveLength(1);
});

test("an end without Ended or Closing is a lost connection", async () => {
  const { open, asked } = script([opened], [opened, ended]);
  const items = await gather(followBy(open, {}, noWait));
  expect(items.map(({ kind }) => kind)).toEqual(["opened", "interrupted", "resumed", "ended"]);
  expect(asked).toHaveLength(2);
});

test("waits as long as Closing says, else exponentially with full jitter and a cap", async () => {
  const { open } = script(
    [opened, { case: "closing", value: { reconnectAfterMs: 3 } }],
    [fromServer(Code.Unavailable)],
    [fromServer(Code.Unknown)],
    [opened, ended],
  );
  const items = await gather(followBy(open, {}, () => 0.001));
  const waits = items.flatMap((item) => (item.kind === "interrupted" ? [item.retryInMs] : []));
  expect(waits).toEqual([3, 0, 1]);
  expect([1, 2, 3, 4, 5, 6, 60].map((failures) => backoffMs(failures, () => 1))).toEqual([
    200, 400, 800, 1600, 3200, 5000, 5000,
  ]);
});

test("waits at least as long as RetryInfo asks", async () => {
  const full = fromServer(Code.ResourceExhausted);
  full.details.push({ desc: RetryInfoSchema, value: { retryDelay: { seconds: 0n, nanos: 30_000_000 } } });
  const { open } = script([full], [opened, ended]);
  const [first] = await gather(followBy(open, {}, noWait));
  expect(first).toMatchObject({ kind: "interrupted", retryInMs: 30 });
});

test("asks for the same epoch again, and throws when the stream was restored meanwhile", async () => {
  const { open, asked } = script([opened, events(1)], [fromServer(Code.Aborted)]);
  await expect(gather(followBy(open, {}, noWait))).rejects.toThrow("said");
  expect(asked.map(({ expectedEpoch }) => expectedEpoch)).toEqual([0n, 7n]);
});

test.each([Code.Unavailable, Code.ResourceExhausted, Code.DeadlineExceeded, Code.Unknown])(
  "tries again after the server's status %s",
  async (code) => {
    const { open } = script([fromServer(code)], [opened, ended]);
    const kinds = (await gather(followBy(open, {}, noWait))).map(({ kind }) => kind);
    expect(kinds).toEqual(["interrupted", "opened", "ended"]);
  },
);

test.each([Code.Aborted, Code.Canceled, Code.Internal])(
  "takes status %s for a broken connection only if the server did not say it",
  async (code) => {
    const { open } = script([new ConnectError("cut", code)], [opened, ended]);
    expect(await gather(followBy(open, {}, noWait))).toHaveLength(3);
    await expect(gather(followBy(script([fromServer(code)]).open, {}, noWait))).rejects.toThrow("said");
  },
);
