/** Labels sharing a call, on streams in memory: turns, credit, ends, and what is held for a client that does not read. */
import { describe, expect, test } from "vitest";
import { DomainError } from "../../server/core/errors.ts";
import { EventType } from "../../server/core/event.ts";
import type { FollowMessage } from "../../server/core/follow.ts";
import { limits } from "../../server/core/limits.ts";
import {
  type MultiplexInput,
  type MultiplexOutput,
  multiplex,
  type Start,
} from "../../server/core/multiplex.ts";
import { FakeCall, FakeStream } from "../support/fake-stream.ts";
import { settled } from "../support/manual-clock.ts";

/** A call whose client says and reads what a test tells it to. */
class Client {
  readonly call = new FakeCall();
  readonly abort = new AbortController();
  readonly got: MultiplexOutput[] = [];
  readonly outputs: AsyncGenerator<MultiplexOutput>;
  readonly #said: MultiplexInput[] = [];
  #ring = () => {};
  #halfClosed = false;
  /** Requests that the server has taken. */
  taken = 0;

  constructor(first: MultiplexInput[] = [], further = true) {
    this.outputs = multiplex(this.call, first, further ? this.#requests() : undefined, this.abort.signal);
  }

  async *#requests(): AsyncGenerator<MultiplexInput> {
    for (;;) {
      const next = this.#said.shift();
      if (next !== undefined) {
        yield next;
        this.taken++;
      } else if (this.#halfClosed) return;
      else await new Promise<void>((resolve) => (this.#ring = resolve));
    }
  }

  say(...inputs: MultiplexInput[]): this {
    this.#said.push(...inputs);
    this.#ring();
    return this;
  }

  halfClose(): this {
    this.#halfClosed = true;
    this.#ring();
    return this;
  }

  /** Reads on until told to stop or the call ends. */
  async read(until: () => boolean = () => false): Promise<void> {
    while (!until()) {
      const next = await this.outputs.next();
      if (next.done === true) return;
      this.got.push(next.value);
    }
  }

  of(label: string): MultiplexOutput[] {
    return this.got.filter((output) => output.label === label);
  }

  offsets(label: string): number[] {
    return this.of(label).flatMap((output) =>
      output.kind === "message" && output.message.kind === "events"
        ? output.message.events.map(({ offset }) => offset)
        : [],
    );
  }

  kinds(label: string): string[] {
    return this.of(label).map((output) => (output.kind === "message" ? output.message.kind : output.kind));
  }
}

const subscribe = (label: string, start: Start | DomainError, initialGrant?: number): MultiplexInput => ({
  kind: "subscribe",
  label,
  initialGrant,
  start,
});
const following =
  (stream: FakeStream, call?: FakeCall): Start =>
  (gate, signal) =>
    stream.follow({}, { gate, signal, ...(call && { call }) });
const tokens = (count: number) => Array.from({ length: count }, () => ({}));
const end = { type: EventType.WORKFLOW_COMPLETED, taskExecutionId: "" };
const range = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

describe("labels", () => {
  test("each get what they would get alone, to their ends, and then the call ends", async () => {
    const streams = Array.from({ length: 20 }, (_, i) => new FakeStream().append(...tokens(i * 10), end));
    const client = new Client(
      streams.map((stream, i) => subscribe(`${i}`, following(stream))),
      false,
    );
    await client.read();
    for (const [i] of streams.entries()) {
      expect(client.offsets(`${i}`)).toEqual(range(i * 10 + 1));
      expect([client.kinds(`${i}`)[0], client.kinds(`${i}`).at(-1)]).toEqual(["opened", "ended"]);
    }
    expect(streams.map(({ users }) => users)).toEqual(streams.map(() => 0));
  });

  test("that fail, however they do, end alone", async () => {
    const stream = new FakeStream().append(...tokens(3), end);
    const failing: Start = async function* () {
      yield { kind: "heartbeat", offset: 1 } satisfies FollowMessage;
      throw new Error("a bug");
    };
    const client = new Client(
      [
        subscribe("failing", failing),
        subscribe("bad", new DomainError("invalid_argument", "wrong")),
        subscribe("good", following(stream)),
      ],
      false,
    );
    await client.read();
    expect(client.kinds("failing")).toEqual(["heartbeat", "error"]);
    expect(client.of("bad")).toEqual([
      { kind: "error", label: "bad", error: new DomainError("invalid_argument", "wrong") },
    ]);
    expect(client.kinds("good").at(-1)).toBe("ended");
  });

  test("may be used again at once after each kind of end", async () => {
    const [ended, open] = [new FakeStream().append(end), new FakeStream().append({})];
    const client = new Client();
    const again = async (input: MultiplexInput, then: MultiplexInput[], last: string) => {
      const { length } = client.got;
      client.say(input, ...then);
      await client.read(
        () => client.kinds("a").length > 0 && client.got.length > length && client.kinds("a").at(-1) === last,
      );
    };
    for (let round = 0; round < 3; round++) {
      await again(subscribe("a", following(ended)), [], "ended");
      await again(subscribe("a", new DomainError("not_found", "?")), [], "error");
      await again(subscribe("a", following(open)), [{ kind: "unsubscribe", label: "a" }], "unsubscribed");
    }
    client.halfClose();
    await client.read();
    expect([ended.users, open.users]).toEqual([0, 0]);
  });

  test("in use: the call ends with already_exists, and lets everything go", async () => {
    const stream = new FakeStream().append({});
    const client = new Client();
    client.say(subscribe("a", following(stream)), subscribe("b", following(stream)));
    await client.read(() => client.offsets("a").length + client.offsets("b").length === 2);
    // Also if what it asks for is malformed: an error would look like the end of the one that runs.
    client.say(subscribe("a", new DomainError("invalid_argument", "wrong")));
    await expect(client.read()).rejects.toMatchObject({ code: "already_exists" });
    expect(stream.users).toBe(0);
  });

  test("that are far too long are answered under their beginning: answers wait for a client that does not read", async () => {
    const client = new Client();
    client.say(subscribe("x".repeat(1_000_000), new DomainError("invalid_argument", "too long")));
    await client.read(() => client.got.length === 1);
    expect(client.got).toMatchObject([{ kind: "error", label: "x".repeat(64) }]);
    client.halfClose();
    await client.read();
  });

  test("that come and go while they open keep the place of their opening until it is over", async () => {
    let opening = 0;
    let most = 0;
    const over: (() => void)[] = [];
    const start: Start = async function* () {
      most = Math.max(most, ++opening);
      await new Promise<void>((resolve) => over.push(resolve)); // the database hears no signal
      opening--;
      yield* [];
    };
    const client = new Client();
    for (let i = 0; i < 100; i++) {
      client.say(subscribe(`${i}`, start), { kind: "unsubscribe", label: `${i}` });
    }
    await client.read(() => client.got.length === 100);
    expect(most).toBe(limits.multiplexOpenings);
    client.halfClose();
    while (opening > 0) {
      for (const end of over.splice(0)) end();
      await settled();
    }
    await client.read();
    expect(most).toBe(limits.multiplexOpenings);
  });

  test("beyond the most at a time are refused by themselves, until one is free", async () => {
    const stream = new FakeStream().append({});
    const client = new Client(
      Array.from({ length: limits.multiplexLabels }, (_, i) => subscribe(`${i}`, following(stream))),
    );
    client.say(subscribe("more", following(stream)));
    await client.read(() => client.kinds("more").length > 0);
    expect(client.of("more")).toMatchObject([{ kind: "error", error: { code: "resource_exhausted" } }]);
    client.say({ kind: "unsubscribe", label: "7" }, subscribe("more", following(stream)));
    await client.read(() => client.offsets("more").length > 0);
    client.abort.abort();
    await client.outputs.return(undefined);
    expect(stream.users).toBe(0);
  });
});

describe("the call", () => {
  test("ignores what is said of labels that it does not know", async () => {
    const client = new Client();
    client.say({ kind: "unsubscribe", label: "a" }, { kind: "grant", label: "a", events: 1 }).halfClose();
    await client.read();
    expect(client.got).toEqual([]);
  });

  test("answers what concerns no label under the empty one, and goes on", async () => {
    const client = new Client();
    const error = new DomainError("invalid_argument", "nothing");
    client.say({ kind: "bad", error }, subscribe("a", following(new FakeStream().append(end)))).halfClose();
    await client.read();
    expect(client.of("")).toEqual([{ kind: "error", label: "", error }]);
    expect(client.kinds("a").at(-1)).toBe("ended");
  });

  test("that the server ends tells each label, and if there is none itself", async () => {
    const closing = { reason: "draining", reconnectAfterMs: 5 } as const;
    const stream = new FakeStream().append({});
    const client = new Client();
    const labels = Array.from({ length: 30 }, (_, i) => `${i}`);
    client.say(...labels.map((label) => subscribe(label, following(stream, client.call))));
    await client.read(() => labels.every((label) => client.kinds(label).includes("events")));
    client.call.close(closing);
    await client.read();
    for (const label of labels)
      expect(client.of(label).at(-1)).toMatchObject({ message: { kind: "closing", ...closing } });
    expect(client.of("")).toEqual([]);

    const idle = new Client();
    const read = idle.read();
    await settled();
    idle.call.close(closing);
    await read;
    expect(idle.got).toEqual([{ kind: "message", label: "", message: { kind: "closing", ...closing } }]);
    expect(stream.users).toBe(0);
  });

  test("whose first targets are given with it tells them even if it ends at once", async () => {
    const stream = new FakeStream().append({});
    const call = new FakeCall();
    call.close({ reason: "revoked", reconnectAfterMs: 0 });
    const got: MultiplexOutput[] = [];
    const first = ["a", "b"].map((label) => subscribe(label, following(stream, call)));
    for await (const output of multiplex(call, first, undefined, new AbortController().signal))
      got.push(output);
    expect(got.map((output) => [output.label, output.kind === "message" && output.message.kind])).toEqual([
      ["a", "opened"],
      ["b", "opened"],
      ["a", "closing"],
      ["b", "closing"],
    ]);
  });

  test("that is left lets everything go, and throws the reason", async () => {
    const stream = new FakeStream().append({});
    const client = new Client(range(50).map((i) => subscribe(`${i}`, following(stream))));
    await client.read(() => client.got.length > 60);
    client.abort.abort(new Error("gone"));
    await expect(client.read()).rejects.toThrow("gone");
    expect(stream.users).toBe(0);
  });
});

describe("turns", () => {
  test("a flood on one label does not keep the others waiting", async () => {
    const flood = new FakeStream({ entries: 1e6, bytes: 1e9 }).append(...tokens(50_000));
    const calm = Array.from({ length: 50 }, () => new FakeStream());
    const client = new Client();
    client.say(
      subscribe("flood", following(flood)),
      ...calm.map((stream, i) => subscribe(`${i}`, following(stream))),
    );
    await client.read(() => calm.every((_, i) => client.kinds(`${i}`).length > 0));
    const before = client.of("flood").length;
    for (const stream of calm) stream.append({});
    await client.read(() => calm.every((_, i) => client.offsets(`${i}`).length === 1));
    expect(client.of("flood").length - before).toBeLessThan(5);
    await client.outputs.return(undefined);
  });

  test("labels that all have much take turns, one message each", async () => {
    const stream = new FakeStream({ entries: 1e6, bytes: 1e9 }).append(...tokens(10_000));
    const client = new Client(range(20).map((i) => subscribe(`${i}`, following(stream))));
    await client.read(() => client.offsets("1").length === 10_000);
    for (const i of range(20)) expect(client.offsets(`${i}`).length).toBeGreaterThanOrEqual(8000);
    await client.outputs.return(undefined);
  });

  test("a label without credit delays no other", async () => {
    const stream = new FakeStream({ entries: 100, bytes: 1e6 }).append(...tokens(10));
    const client = new Client(
      range(500).map((i) => subscribe(`${i}`, following(stream), i <= 100 ? 0 : undefined)),
    );
    await client.read(() => range(500).every((i) => i <= 100 || client.offsets(`${i}`).length === 10));
    expect(range(100).map((i) => client.kinds(`${i}`))).toEqual(range(100).map(() => ["opened"]));
    client.say({ kind: "grant", label: "7", events: 3 });
    await client.read(() => client.offsets("7").length === 3);
    await client.outputs.return(undefined);
  });

  test.each([
    ["window", 1e6],
    ["store", 4],
  ])(
    "500 labels of a client that does not read hold the events of a few messages, from the %s",
    async (_, entries) => {
      const streams = range(500).map(() => new FakeStream({ entries, bytes: 1e9 }));
      let held = 0;
      /** Counts what was handed to the call and not yet taken from it. */
      const counted = (stream: FakeStream): Start =>
        async function* (gate, signal) {
          for await (const message of stream.follow({}, { gate, signal })) {
            if (message.kind === "events") held++;
            try {
              yield message;
            } finally {
              if (message.kind === "events") held--;
            }
          }
        };
      const client = new Client(streams.map((stream, i) => subscribe(`${i}`, counted(stream))));
      await client.read(() => client.got.length === 500);
      for (let i = 0; i < 20; i++) {
        for (const stream of streams) stream.append(...tokens(20));
        await settled();
      }
      expect(held).toBeGreaterThan(0);
      expect(held).toBeLessThanOrEqual(8);
      // Taking labels off frees what waited for them: others take their turns, and no more.
      for (let i = 0; i < 400; i++) client.say({ kind: "unsubscribe", label: `${i}` });
      for (let i = 0; i < 20; i++) await settled();
      expect(streams.filter(({ users }) => users > 0).length).toBe(100);
      expect(held).toBeLessThanOrEqual(8);
      await client.read(() => range(100).every((i) => client.offsets(`${399 + i}`).length === 400));
      await client.outputs.return(undefined);
      // What waited for them was not sent after all.
      for (let i = 0; i < 400; i++) expect(client.kinds(`${i}`)).toEqual(["opened", "unsubscribed"]);
      expect([held, streams.some(({ users }) => users > 0)]).toEqual([0, false]);
    },
  );

  test("who asks and asks and does not read is read no further", async () => {
    const client = new Client();
    await Promise.race([client.read(() => true), settled()]);
    void client.outputs.next();
    const error = new DomainError("invalid_argument", "wrong");
    for (let i = 0; i < 5000; i++) client.say(subscribe("a", error));
    for (let i = 0; i < 20; i++) await settled();
    expect(client.taken).toBeLessThanOrEqual(limits.multiplexAnswers + 2);
    await client.read(() => client.got.length === 4000);
    expect(client.taken).toBeGreaterThan(4000);
    client.abort.abort();
    await client.outputs.return(undefined);
  });

  test("few are opened at a time", async () => {
    let opening = 0;
    let most = 0;
    const slow: Start = async function* () {
      most = Math.max(most, ++opening);
      await settled();
      opening--;
      yield { kind: "heartbeat", offset: 1 } satisfies FollowMessage;
    };
    const client = new Client(
      range(100).map((i) => subscribe(`${i}`, slow)),
      false,
    );
    await client.read();
    expect([most, client.got.length]).toEqual([limits.multiplexOpenings, 100]);
  });
});
