/** Connections that break inside a snapshot, of variables and of a recall, said by a script instead of a server. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { type Reading, read } from "../../client/read/reading.ts";
import { type OpenRecall, type RecallItem, RecallReading } from "../../client/read/recall.ts";
import { type OpenWatch, VariableReading, type WatchItem } from "../../client/read/watch-variables.ts";
import { toResilience } from "../../client/resilience/options.ts";
import {
  type RecallMessageSchema,
  RecallStreamResponseSchema,
} from "../../gen/tributary/v1/memory_service_pb.ts";
import { WatchVariablesResponseSchema } from "../../gen/tributary/v1/variable_service_pb.ts";

const cut = new ConnectError("cut", Code.Aborted);
const deps = { resilience: toResilience({ backoff: { firstMs: 1 } }) };

async function gather<M, I>(reading: Reading<M, I>): Promise<I[]> {
  const items: I[] = [];
  for await (const item of read(reading, deps, undefined)) {
    if (typeof item === "object" && item !== null && "kind" in item && item.kind === "interrupted") continue;
    items.push(item as I);
  }
  return items;
}

type Said = NonNullable<MessageInitShape<typeof WatchVariablesResponseSchema>["message"]> | ConnectError;
const opened = (startOffset: bigint) => ({ case: "opened", value: { startOffset, epoch: 7n } }) as const;
const updates = (...offsets: bigint[]) =>
  ({
    case: "updates",
    value: { updates: offsets.map((offset) => ({ offset, variable: { name: `v${offset}` } })) },
  }) as const;
const snapshot = (offset: bigint) => ({ case: "snapshotComplete", value: { offset } }) as const;
const ended = { case: "ended", value: {} } as const;

async function watch(...calls: Said[][]) {
  const asked: unknown[] = [];
  const open: OpenWatch = async function* (request) {
    asked.push([request.includeInitialValues, request.options?.start?.value, request.options?.expectedEpoch]);
    for (const message of calls[asked.length - 1] ?? []) {
      if (message instanceof ConnectError) throw message;
      yield create(WatchVariablesResponseSchema, { message });
    }
  };
  const items = await gather<unknown, WatchItem>(
    new VariableReading("a test", open, {}) as Reading<unknown, WatchItem>,
  );
  const told = items.map((item) =>
    item.kind === "updates" ? item.updates.map(({ offset }) => Number(offset)) : item.kind,
  );
  return { asked, told };
}

test("a snapshot that breaks is told anew, as of another moment", async () => {
  const { asked, told } = await watch(
    [opened(5n), updates(1n, 2n), cut],
    [opened(8n), updates(1n), updates(2n, 7n), snapshot(8n), updates(9n), cut],
    [opened(9n), updates(9n, 10n), { case: "heartbeat", value: { offset: 12n } }, cut],
    [opened(12n), ended],
  );
  expect(told).toEqual([
    ...["opened", [1, 2], "restarted", [1], [2, 7], "snapshot", [9]],
    ...["resumed", [10], "resumed", "ended"],
  ]);
  expect(asked).toEqual([
    [true, true, 0n],
    [true, true, 7n],
    [false, 9n, 7n],
    [false, 12n, 7n],
  ]);
});

test("a gap is told once, and what follows it is told until it is complete", async () => {
  const gap = { case: "gap", value: { fromOffset: 6n, toOffset: 20n } } as const;
  const { asked, told } = await watch(
    [opened(5n), snapshot(5n), gap, updates(1n), cut],
    [opened(5n), gap, updates(1n, 3n), snapshot(30n), updates(31n), cut],
    [opened(31n), ended],
  );
  expect(told).toEqual([
    ...["opened", "snapshot", "gap", [1], "resumed", [1, 3], "snapshot", [31]],
    ...["resumed", "ended"],
  ]);
  expect(asked.slice(1)).toEqual([
    [false, 5n, 7n],
    [false, 31n, 7n],
  ]);
});

test("a recall that breaks inside its snapshot asks for the same one, and repeats nothing", async () => {
  type Recalled = NonNullable<MessageInitShape<typeof RecallMessageSchema>["message"]> | ConnectError;
  const results = (...offsets: bigint[]) =>
    ({
      case: "results",
      value: { results: offsets.map((offset) => ({ observation: { offset } })) },
    }) as const;
  const complete = { case: "snapshotComplete", value: { snapshotOffset: 9n, results: 3 } } as const;
  const calls: Recalled[][] = [
    [opened(9n), results(4n, 8n), cut],
    [opened(9n), results(8n, 4n, 2n), complete, results(11n), cut],
    [opened(11n), results(11n, 14n), cut],
    [new ConnectError("enough", Code.NotFound)],
  ];
  const asked: unknown[] = [];
  const open: OpenRecall = async function* (request) {
    asked.push([request.snapshotIsolation, request.snapshotOffset, request.options?.start?.value]);
    for (const message of calls[asked.length - 1] ?? []) {
      if (message instanceof ConnectError) throw message;
      yield create(RecallStreamResponseSchema, { message: { message } });
    }
  };
  const told: unknown[] = [];
  const reading = new RecallReading("a test", open, { cue: { case: "text", value: "x" }, follow: true });
  const reader = (async () => {
    for await (const item of read<unknown, RecallItem>(
      reading as Reading<unknown, RecallItem>,
      deps,
      undefined,
    )) {
      if (item.kind === "results") {
        told.push(item.results.map(({ observation }) => Number(observation?.offset)));
      } else if (item.kind !== "interrupted") told.push(item.kind);
    }
  })();
  await expect(reader).rejects.toThrow("enough");
  expect(told).toEqual(["opened", [4, 8], "resumed", [2], "snapshot", [11], "resumed", [14]]);
  expect(asked).toEqual([
    [false, 0n, undefined],
    [true, 9n, undefined],
    [false, 0n, 11n],
    [false, 0n, 14n],
  ]);
});
