/** Recalling: what is found, in which order, with which score; that a snapshot is one; that following misses nothing. */
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ClosingReason } from "../../gen/tributary/v1/event_pb.ts";
import type { RecalledObservation } from "../../gen/tributary/v1/memory_service_pb.ts";
import { readPage, rowsOf } from "../docs/pages.ts";
import {
  byText,
  contents,
  observe,
  openObserving,
  type RecallInit,
  Recalling,
  recalled,
} from "../support/memory-call.ts";
import { Random, seeds } from "../support/random.ts";
import { useServer } from "../support/server.ts";
import { until } from "../support/until.ts";

const server = useServer();
const day = 24 * 3600 * 1000;

let made = 0;
async function newSpace(): Promise<string> {
  const space = `recall-${++made}`;
  await server.acme.memory.createMemorySpace({ space });
  return space;
}

const byTime = (fromMs: number, toMs: number) => ({
  cue: { cue: { case: "timeRange" as const, value: { fromMs: BigInt(fromMs), toMs: BigInt(toMs) } } },
});
const bySession = (value: string) => ({ cue: { cue: { case: "sessionId" as const, value } } });
const afterOffset = (value: bigint) => ({ start: { case: "afterOffset" as const, value } });
const offsets = (results: readonly RecalledObservation[]) =>
  results.map(({ observation }) => Number(observation?.offset));
const recallHere = (space: string, request: RecallInit) => recalled(server.acme, { space, ...request });

async function failure(request: RecallInit): Promise<[Code, string]> {
  const error = await recalled(server.acme, request).then(
    () => undefined,
    (thrown) => ConnectError.from(thrown),
  );
  return [error?.code ?? (0 as Code), error?.rawMessage ?? "it was taken"];
}

describe("what is found", () => {
  test("words, phrases, alternatives and what must not be there, whatever the case", async () => {
    const space = await newSpace();
    await observe(server.acme, space, [
      "The quick brown Fox",
      "a brown dog and a quick cat",
      "nothing of that",
      "FOX and dog",
    ]);
    const found = async (text: string) => offsets((await recallHere(space, byText(text))).results).toSorted();
    expect(await found("fox")).toEqual([1, 4]);
    expect(await found("quick brown")).toEqual([1, 2]);
    expect(await found('"quick brown"')).toEqual([1]);
    expect(await found("cat or nothing")).toEqual([2, 3]);
    expect(await found("fox -dog")).toEqual([1]);
    expect(await found("-fox")).toEqual([2, 3]);
    expect(await found("the")).toEqual([1]);
    expect(await found("unheard")).toEqual([]);
  });

  test("in its own space only, whatever others hold", async () => {
    const [space, other] = [await newSpace(), await newSpace()];
    await observe(server.acme, other, ["shared word"]);
    await observe(server.acme, space, ["shared word too"]);
    for (const text of ["shared", "-unheard"]) {
      expect(contents((await recallHere(space, byText(text))).results)).toEqual(["shared word too"]);
    }
  });

  test("a time range, with its beginning and without its end, newest first", async () => {
    const space = await newSpace();
    await observe(
      server.acme,
      space,
      [30, 10, 20, 40, 20].map((ms) => ({ content: `at ${ms}`, observedMs: BigInt(ms) })),
    );
    const found = async (from: number, to: number) => {
      const { results } = await recallHere(space, byTime(from, to));
      for (const { score } of results) expect(score).toBe(1);
      return offsets(results);
    };
    expect(await found(0, 0)).toEqual([4, 1, 5, 3, 2]);
    expect(await found(20, 40)).toEqual([1, 5, 3]);
    expect(await found(0, 20)).toEqual([2]);
    expect(await found(31, 0)).toEqual([4]);
    expect(await found(20, 20)).toEqual([]);
  });

  test("a session's own, in order", async () => {
    const space = await newSpace();
    const [one, two] = await Promise.all([
      openObserving(server.acme, space),
      openObserving(server.acme, space),
    ]);
    for (let i = 1; i <= 20; i++) {
      one.batch(i, [{ content: `one ${i}` }]);
      two.batch(i, [{ content: `two ${i}` }]);
      await Promise.all([one.durable(i), two.durable(i)]);
    }
    const id = one.all("initAck")[0]?.sessionId ?? "";
    const expected = Array.from({ length: 20 }, (_, i) => `one ${i + 1}`);
    expect(contents((await recallHere(space, bySession(id))).results)).toEqual(expected);
    expect(contents((await recallHere(space, bySession(id.toUpperCase()))).results)).toEqual(expected);
    expect((await recallHere(space, bySession(crypto.randomUUID()))).results).toEqual([]);
  });

  test("what is durable is found at once", async () => {
    const space = await newSpace();
    const call = await openObserving(server.acme, space);
    for (let i = 1; i <= 30; i++) {
      call.batch(i, [{ content: `fresh${i}` }]);
      await call.durable(i);
      expect((await recallHere(space, byText(`fresh${i}`))).results).toHaveLength(1);
    }
  });
});

describe("the score", () => {
  test("is what the example of the documentation says", async () => {
    const space = await newSpace();
    const rows = rowsOf(readPage("docs/memory.md")).filter(
      (cells) => cells.length === 8 && /\d/.test(cells[7] ?? ""),
    );
    expect(rows).toHaveLength(4);
    const now = Date.now();
    await observe(
      server.acme,
      space,
      rows.map(([content = "", importance, confidence, age]) => ({
        content,
        importance: Number(importance),
        confidence: Number(confidence),
        observedMs: BigInt(now - Number(age) * day),
      })),
    );
    const { results } = await recallHere(space, byText("otter"));
    expect(contents(results)).toEqual(rows.map(([content]) => content));
    for (const [i, [, importance, confidence, age, text, recency, raw, score]] of rows.entries()) {
      // The page's own sums, then the server's.
      const ageing = 2 ** (-Number(age) / 7);
      const sum = 0.6 * Number(text) + 0.2 * Number(importance) + 0.1 * Number(confidence) + 0.1 * ageing;
      expect(ageing).toBeCloseTo(Number(recency), 4);
      expect(sum).toBeCloseTo(Number(raw), 4);
      expect(sum / Number(rows[0]?.[6])).toBeCloseTo(Number(score), 4);
      expect(results[i]?.score, rows[i]?.[0]).toBeCloseTo(Number(score), 3);
    }
  });

  test("min_score leaves out what scores less, and only that", async () => {
    const space = await newSpace();
    await observe(
      server.acme,
      space,
      [0, 0.2, 0.4, 0.6, 0.8, 1].map((importance) => ({ content: "heron", importance })),
    );
    const { results } = await recallHere(space, byText("heron"));
    expect(results.map(({ score }) => score)).toEqual(
      results.map(({ score }) => score).toSorted((a, b) => b - a),
    );
    expect(results[0]?.score).toBe(1);
    for (const { score: least } of results) {
      const some = (await recallHere(space, { ...byText("heron"), minScore: least })).results;
      // Time goes on between two recalls, so that what lies exactly at the border may fall on either side.
      const clear = results.filter(({ score }) => score > least + 1e-4);
      expect(offsets(some).slice(0, clear.length)).toEqual(offsets(clear));
      expect(some.length).toBeLessThanOrEqual(results.filter(({ score }) => score > least - 1e-4).length);
    }
    const only = await recallHere(space, { ...byText("heron"), minScore: 1 });
    expect([offsets(only.results), only.complete?.results]).toEqual([[6], 1]);
  });

  test("closer words rank higher, and very old ones still rank", async () => {
    const space = await newSpace();
    await observe(server.acme, space, [
      `red ${"and so on ".repeat(20)} kite`,
      "a red kite",
      { content: "an ancient red kite", observedMs: 1n },
    ]);
    const { results } = await recallHere(space, byText("red kite"));
    expect(offsets(results)[0]).toBe(2);
    for (const { score } of results) expect(score > 0 && score <= 1).toBe(true);
  });
});

describe("the snapshot part", () => {
  test("holds max_results, by default 100, the best of all", async () => {
    const space = await newSpace();
    const count = 1200;
    await observe(
      server.acme,
      space,
      Array.from({ length: count }, (_, i) => ({ content: "swift", importance: i / count })),
    );
    const best = (n: number) => Array.from({ length: n }, (_, i) => count - i);
    for (const [maxResults, expected] of [
      [0, 100],
      [1, 1],
      [1000, 1000],
    ] as const) {
      const found = await recallHere(space, { ...byText("swift"), maxResults });
      expect(offsets(found.results)).toEqual(best(expected));
      expect(found.complete).toMatchObject({ results: expected, snapshotOffset: BigInt(count) });
    }
    expect((await failure({ space, ...byText("swift"), maxResults: 1001 }))[0]).toBe(Code.InvalidArgument);
  });

  test("comes in batches of a MiB, each but the last saying that more follow", async () => {
    const space = await newSpace();
    const large = "large ".repeat(50_000);
    await observe(server.acme, space, [...Array.from({ length: 8 }, () => large), "large ".repeat(170_000)]);
    const { messages } = await recallHere(space, byText("large"));
    const batches = messages.flatMap((message) => (message.case === "results" ? [message.value] : []));
    expect(batches.map(({ results }) => results.length).toSorted()).toEqual([1, 2, 3, 3]);
    expect(batches.map(({ moreResults }) => moreResults)).toEqual([true, true, true, false]);
    expect(messages.map(({ case: name }) => name)).toEqual([
      "opened",
      ...batches.map(() => "results"),
      "snapshotComplete",
    ]);
  });

  test("ends at the offset that was asked for", async () => {
    const space = await newSpace();
    await observe(
      server.acme,
      space,
      Array.from({ length: 10 }, (_, i) => ({ content: "wren", importance: i / 10 })),
    );
    for (const request of [byText("wren"), byTime(0, 0)]) {
      const found = await recallHere(space, { ...request, snapshotIsolation: true, snapshotOffset: 4n });
      expect(offsets(found.results)).toEqual([4, 3, 2, 1]);
      expect(found.complete).toMatchObject({ snapshotOffset: 4n, results: 4 });
      expect(found.messages[0]).toMatchObject({
        case: "opened",
        value: { startOffset: 4n, tailOffset: 10n },
      });
    }
    const whole = await recallHere(space, { ...byText("wren"), snapshotIsolation: true });
    expect(whole.complete).toMatchObject({ snapshotOffset: 10n, results: 10 });
  });
});

test("what is wrong with a recall is said before anything is sent", async () => {
  const space = await newSpace();
  await observe(server.acme, space, ["x"]);
  const x = { space, ...byText("x") };
  const cases: [RecallInit, Code, RegExp][] = [
    [{ space }, Code.InvalidArgument, /cue: none/],
    [{ space, cue: {} }, Code.InvalidArgument, /cue: none/],
    [{ space, ...byText("") }, Code.InvalidArgument, /no word/],
    [{ space, ...byText("?! -") }, Code.InvalidArgument, /no word/],
    [{ space, ...byText("w".repeat(3000)) }, Code.InvalidArgument, /no word/],
    [{ space, ...byText("w ".repeat(3000)) }, Code.InvalidArgument, /4096 bytes/],
    [{ space, ...byText("a\0b") }, Code.InvalidArgument, /cue.text/],
    [{ space, ...byTime(5, 4) }, Code.InvalidArgument, /from_ms 5 is after to_ms 4/],
    [{ space, ...bySession("me") }, Code.InvalidArgument, /session_id/],
    [{ ...x, snapshotOffset: 1n }, Code.InvalidArgument, /snapshot_isolation/],
    [{ ...x, snapshotIsolation: true, snapshotOffset: 2n }, Code.OutOfRange, /tail of the space, which is 1/],
    [{ ...x, options: afterOffset(1n) }, Code.InvalidArgument, /follow/],
    [{ ...x, follow: true, options: afterOffset(2n) }, Code.OutOfRange, /after_offset: 2/],
    [{ ...x, options: { expectedEpoch: 7n } }, Code.Aborted, /expected_epoch/],
    [{ ...x, minScore: 1.1 }, Code.InvalidArgument, /min_score/],
    [{ ...x, space: "No" }, Code.InvalidArgument, /space/],
  ];
  for (const [request, code, text] of cases) {
    const [met, message] = await failure(request);
    expect([Code[met], message], message).toEqual([Code[code], expect.stringMatching(text)]);
  }
});

describe("following", () => {
  test("goes on with every match after the snapshot, also those that score less, and with no other", async () => {
    const space = await newSpace();
    await observe(server.acme, space, ["heron heron heron", "duck"]);
    const reader = new Recalling(server.acme, { space, ...byText("heron"), follow: true, minScore: 1 });
    await until(() => expect(reader.complete).toBeDefined());
    expect(contents(reader.results)).toEqual(["heron heron heron"]);
    await observe(server.acme, space, [
      "duck",
      { content: "a heron", importance: 0 },
      "goose",
      "heron again",
    ]);
    await until(() => expect(contents(reader.later)).toEqual(["a heron", "heron again"]));
    for (const { score } of reader.later) expect(score > 0 && score < 1).toBe(true);
  });

  test("by time and by session", async () => {
    const space = await newSpace();
    const call = await openObserving(server.acme, space);
    const own = new Recalling(server.acme, {
      space,
      ...bySession(call.all("initAck")[0]?.sessionId ?? ""),
      follow: true,
    });
    const early = new Recalling(server.acme, { space, ...byTime(0, 100), follow: true });
    await until(() => expect([own.complete, early.complete]).not.toContain(undefined));
    await observe(server.acme, space, [
      { content: "a", observedMs: 50n },
      { content: "b", observedMs: 100n },
    ]);
    call.batch(1, [
      { content: "c", observedMs: 200n },
      { content: "d", observedMs: 99n },
    ]);
    await until(() => {
      expect(contents(own.later)).toEqual(["c", "d"]);
      expect(contents(early.later)).toEqual(["a", "d"]);
    });
  });

  test("after an offset it begins there, without a snapshot part", async () => {
    const space = await newSpace();
    await observe(
      server.acme,
      space,
      Array.from({ length: 2500 }, (_, i) => `${i % 2 === 0 ? "even" : "odd"} ${i + 1}`),
    );
    for (const after of [0, 1, 1000, 2499]) {
      const reader = new Recalling(server.acme, {
        space,
        ...byText("odd"),
        follow: true,
        options: afterOffset(BigInt(after)),
      });
      const expected = Array.from({ length: 2500 }, (_, i) => i + 1).filter((n) => n > after && n % 2 === 0);
      await until(() => expect(offsets(reader.results)).toEqual(expected));
      expect(reader.messages[0]).toMatchObject({ case: "opened", value: { startOffset: BigInt(after) } });
      expect(reader.complete).toBeUndefined();
      reader.leave();
    }
  });

  test("survives a restart of the server by after_offset, without gap or duplicate", async () => {
    const space = await newSpace();
    const call = await openObserving(server.acme, space);
    const sessionId = call.all("initAck")[0]?.sessionId ?? "";
    const request = { space, ...byText("otter"), follow: true };
    const first = new Recalling(server.acme, request);
    // Before that they might be in the ranked snapshot, best first.
    await until(() => expect(first.complete).toBeDefined());
    call.batch(1, [{ content: "otter 1" }, { content: "duck" }, { content: "otter 2" }]);
    await until(() => expect(offsets(first.results)).toEqual([1, 3]));
    await server.restart();
    await first.ended;
    expect(first.messages.at(-1)).toMatchObject({
      case: "closing",
      value: { reason: ClosingReason.DRAINING, reconnectAfterMs: expect.any(Number) },
    });
    const again = await openObserving(server.acme, space, { sessionId });
    again.batch(4, [{ content: "otter 3" }]);
    await again.durable(4);
    const second = new Recalling(server.acme, { ...request, options: afterOffset(3n) });
    again.batch(5, [{ content: "otter 4" }]);
    await until(() => expect(contents(second.results)).toEqual(["otter 3", "otter 4"]));
  });

  test("is told its position in silence, and ended when it was idle for as long as it asked for", async () => {
    const space = await newSpace();
    const reader = new Recalling(server.acme, {
      space,
      ...byText("rare"),
      follow: true,
      options: { heartbeatIntervalMs: 1000, idleTimeoutMs: 2500 },
    });
    await until(() => expect(reader.complete).toBeDefined());
    await observe(server.acme, space, ["common", "common"]);
    await reader.ended;
    const beats = reader.messages.flatMap((message) =>
      message.case === "heartbeat" ? [message.value.offset] : [],
    );
    expect(beats.at(-1)).toBe(2n);
    expect(beats.length).toBeLessThanOrEqual(3);
    expect(reader.messages.at(-1)).toMatchObject({
      case: "closing",
      value: { reason: ClosingReason.IDLE_TIMEOUT },
    });
  });

  test("declares what was trimmed before it came there", async () => {
    const space = await newSpace();
    await observe(server.acme, space, ["teal 1", "teal 2", "teal 3", "teal 4"]);
    // As retention does it: the floor first.
    const { rows } = await server.pool.query("select stream_id from memory_space where space = $1", [space]);
    const trim = async (upTo: number) => {
      const values = [rows[0].stream_id, upTo];
      await server.pool.query(
        `insert into stream_floor values ($1, $2) on conflict (stream_id) do update set floor_offset = $2`,
        values,
      );
      await server.pool.query(`delete from observation where stream_id = $1 and "offset" <= $2`, values);
      await server.pool.query(`delete from event where stream_id = $1 and "offset" <= $2`, values);
    };
    await trim(2);
    const reader = new Recalling(server.acme, {
      space,
      ...byText("teal"),
      follow: true,
      options: afterOffset(0n),
    });
    await until(() => expect(offsets(reader.results)).toEqual([3, 4]));
    expect(reader.messages.slice(0, 2)).toMatchObject([
      { case: "opened", value: { floorOffset: 2n } },
      { case: "gap", value: { fromOffset: 1n, toOffset: 2n } },
    ]);
    expect(offsets((await recallHere(space, byText("teal"))).results).toSorted()).toEqual([3, 4]);
  });
});

describe.each(seeds(3))("with seed %i", (seed) => {
  test("while others write, snapshots hold nothing newer, and each later match follows exactly once", async () => {
    const random = new Random(seed);
    const space = await newSpace();
    const words = ["ash", "birch", "cedar", "elm"];
    const truth: { session: string; observedMs: number; words: Set<string> }[] = [];
    const writers = await Promise.all(
      Array.from({ length: 3 }, async () => ({ call: await openObserving(server.acme, space), next: 1 })),
    );
    const sessionOf = ({ call }: (typeof writers)[number]) => call.all("initAck")[0]?.sessionId ?? "";
    const written = new Map<string, { observedMs: number; words: Set<string> }>();
    const write = (writer: (typeof writers)[number]) => {
      const batch = Array.from({ length: 1 + random.below(8) }, (_, i) => {
        const chosen = words.filter(() => random.chance(0.4));
        const observedMs = 1 + random.below(1000);
        written.set(`${sessionOf(writer)}:${writer.next + i}`, { observedMs, words: new Set(chosen) });
        return { content: [...chosen, "tree"].join(" "), observedMs: BigInt(observedMs) };
      });
      writer.call.batch(writer.next, batch);
      writer.next += batch.length;
    };
    type Test = (entry: (typeof truth)[number]) => boolean;
    const cues: (() => [RecallInit, Test])[] = [
      () => {
        const word = random.pick(words);
        return [byText(word), (entry) => entry.words.has(word)];
      },
      () => {
        const [a, b] = [random.pick(words), random.pick(words)];
        return [byText(`${a} or -${b}`), (entry) => entry.words.has(a) || !entry.words.has(b)];
      },
      () => {
        const [from, to] = [1 + random.below(500), 501 + random.below(500)];
        return [byTime(from, to), ({ observedMs }) => observedMs >= from && observedMs < to];
      },
      () => {
        const session = sessionOf(random.pick(writers));
        return [bySession(session), (entry) => entry.session === session];
      },
    ];
    const readers: { reader: Recalling; matches: Test }[] = [];
    for (let step = 0; step < 120; step++) {
      write(random.pick(writers));
      if (random.chance(0.2)) {
        const [request, matches] = random.pick(cues)();
        const options = {
          space,
          ...request,
          follow: true,
          snapshotIsolation: random.chance(0.5),
          maxResults: 1000,
        };
        readers.push({ reader: new Recalling(server.acme, options), matches });
      }
      if (random.chance(0.3)) await new Promise((resolve) => setTimeout(resolve, random.below(10)));
    }
    await Promise.all(writers.map(({ call, next }) => call.durable(next - 1)));
    const all = await recalled(server.acme, { space, ...byTime(0, 0), maxResults: 1000 });
    for (const { observation } of all.results) {
      const entry = written.get(observation?.observationId ?? "");
      truth[Number(observation?.offset)] = {
        ...entry,
        session: observation?.sessionId ?? "",
      } as (typeof truth)[number];
    }
    expect(Object.keys(truth)).toHaveLength(written.size);
    for (const { reader, matches } of readers) {
      const expected = Object.keys(truth)
        .map(Number)
        .filter((offset) => matches(truth[offset] as never));
      await until(() => {
        expect(reader.complete).toBeDefined();
        const snapshot = Number(reader.complete?.snapshotOffset);
        const before = offsets(reader.results.slice(0, reader.results.length - reader.later.length));
        expect(before.toSorted((a, b) => a - b)).toEqual(expected.filter((offset) => offset <= snapshot));
        expect(offsets(reader.later)).toEqual(expected.filter((offset) => offset > snapshot));
      });
    }
    expect(readers.some(({ reader }) => reader.later.length > 0)).toBe(true);
  });
});
