/** What one can do with what is followed, against a real server. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  Code,
  type ConnectError,
  classify,
  createTributaryClient,
  EventType,
  GapError,
  type StoredPosition,
  type StreamState,
  type TributaryClient,
  VariableUpdateType,
  WorkflowStatus,
} from "../../client/index.ts";
import { newWorkflow, publish, token } from "../api/trees.ts";
import { openProxy } from "../client/cutting-proxy.ts";
import { useServer } from "../support/server.ts";
import { until } from "../support/until.ts";

const server = useServer();
let client: TributaryClient;
beforeAll(() => {
  client = createTributaryClient({ baseUrl: server.url, credential: server.acme.key });
});
afterAll(() => client.close());

/** Offsets 2 … n+1 are tokens "0" … */
async function aStream(count: number): Promise<string> {
  const workflowId = await newWorkflow(server.acme);
  await publish(
    server.acme,
    Array.from({ length: count }, (_, i) => token(workflowId, `${i}`)),
  );
  return workflowId;
}
const close = (workflowId: string) =>
  server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
const trimmed = (workflowId: string, floor: number) =>
  server.pool.query("insert into stream_floor select stream_id, $2 from workflow where workflow_id = $1", [
    workflowId,
    floor,
  ]);
const tokens = { types: [EventType.TOKEN] };
async function gather<T>(all: AsyncIterable<T>): Promise<T[]> {
  const gathered: T[] = [];
  for await (const each of all) gathered.push(each);
  return gathered;
}
const untilQuiet = () => until(() => expect(server.server.gauges().openCalls).toBe(0));

describe("collect", () => {
  test("takes what there is up to its limit, and the rest stays to be read", async () => {
    const id = await aStream(10);
    await close(id);
    const stream = client.follow(id, tokens);
    const first = await stream.collect({ limit: 3 });
    expect(first).toMatchObject({ outcome: "full", gaps: [] });
    expect(first.values.map(({ payload }) => payload.value)).toEqual(["0", "1", "2"]);
    expect(stream.position).toBe(4n); // of what was handed over, not of what was read
    const rest = await stream.collect();
    expect(rest.outcome).toBe("ended");
    expect(rest.values.map(({ payload }) => payload.value)).toEqual(["3", "4", "5", "6", "7", "8", "9"]);
    expect(await stream.collect()).toEqual({ values: [], gaps: [], outcome: "ended" });
  });

  test("stops with so many bytes, or with its signal, and loses nothing by it", async () => {
    const id = await newWorkflow(server.acme);
    await publish(server.acme, [token(id, "x".repeat(600)), token(id, "y".repeat(600)), token(id, "z")]);
    const stream = client.follow(id, tokens);
    const full = await stream.collect({ limitBytes: 1000 });
    expect([full.outcome, full.values.length]).toEqual(["full", 2]);
    const stopped = await stream.collect({ signal: AbortSignal.timeout(100) });
    expect([stopped.outcome, stopped.values.length]).toEqual(["stopped", 1]);
    await close(id);
    await publish(server.acme, []);
    expect(await stream.collect()).toMatchObject({ outcome: "ended", values: [] });
  });

  test("keeps what it has when an error ends it", async () => {
    const id = await aStream(3);
    await using proxy = await openProxy(server.url);
    const behind = createTributaryClient({
      baseUrl: proxy.url,
      credential: server.acme.key,
      resilience: { streamAttempts: 2, backoff: { firstMs: 1 } },
    });
    const stream = behind.follow(id, tokens);
    const collecting = stream.collect();
    await until(() => expect(stream.position).toBe(4n));
    proxy.refuse();
    proxy.cut("reset");
    const { values, outcome, error } = await collecting;
    expect([values.length, outcome]).toEqual([3, "failed"]);
    expect(classify(error as ConnectError)).toBe("transient");
    expect(stream.state).toBe("closed");
    behind.close();
  });
});

describe("values and forEach", () => {
  test("give one value after another, wait for each, and end with the stream", async () => {
    const id = await aStream(5);
    await close(id);
    const seen: unknown[] = [];
    const stream = client.follow(id, tokens);
    await stream.forEach(async ({ payload }) => {
      await Promise.resolve();
      seen.push([payload.value, stream.position]);
    });
    expect(seen).toEqual(["0", "1", "2", "3", "4"].map((text, at) => [text, BigInt(at + 2)]));
  });

  test("an error of the callback ends it, is thrown as it is, and frees the call", async () => {
    const id = await aStream(5);
    const stream = client.follow(id);
    const broken = stream.forEach(() => {
      throw new RangeError("mine");
    });
    await expect(broken).rejects.toThrow(RangeError);
    expect(stream.state).toBe("closed");
    await untilQuiet();
  });

  test("a gap is thrown, unless somebody takes it", async () => {
    const id = await aStream(5);
    await trimmed(id, 3);
    await close(id);
    const given = await gather(client.follow(id).values()).catch((error: unknown) => error);
    expect(given).toBeInstanceOf(GapError);
    expect(given).toMatchObject({ gap: { fromOffset: 1n, toOffset: 3n } });
    const gaps: bigint[] = [];
    const values = await gather(client.follow(id).values({ onGap: ({ toOffset }) => gaps.push(toOffset) }));
    expect([gaps, values.map(({ offset }) => offset)]).toEqual([[3n], [4n, 5n, 6n, 7n]]);
    const { gaps: collected } = await client.follow(id).collect();
    expect(collected).toMatchObject([{ toOffset: 3n }]);
    const kinds = (await gather(client.follow(id))).map(({ kind }) => kind);
    expect(kinds).toEqual(["opened", "gap", "events", "ended"]);
  });
});

test("a web stream reads when it is read, and frees the call when it is cancelled", async () => {
  const id = await aStream(3);
  const reader = client.follow(id).toReadableStream().getReader();
  expect(server.server.gauges().openCalls).toBe(0);
  expect((await reader.read()).value?.kind).toBe("opened");
  expect((await reader.read()).value?.kind).toBe("events");
  const waiting = reader.read();
  await reader.cancel();
  expect(await waiting).toMatchObject({ done: true });
  await untilQuiet();
});

test("a loop that is left while a next is waiting is over at once", async () => {
  const id = await aStream(1);
  const stream = client.follow(id);
  await stream.next();
  await stream.next();
  const waiting = stream.next();
  await stream.return();
  expect(await waiting).toEqual({ done: true, value: undefined });
  expect(stream.state).toBe("closed");
  await untilQuiet();
});

test("tells its state and position: connecting, catching up, live, closed", async () => {
  const id = await aStream(2500); // three messages
  await using proxy = await openProxy(server.url);
  const behind = createTributaryClient({ baseUrl: proxy.url, credential: server.acme.key });
  const stream = behind.follow(id);
  const states: StreamState[] = [];
  const stop = stream.onState((state) => states.push(state));
  expect([stream.state, stream.position]).toEqual(["connecting", 0n]);
  await stream.next();
  await stream.next();
  expect([stream.state, stream.position]).toEqual(["catching-up", 1000n]);
  const reading = stream.forEach(() => {});
  await until(() => expect([stream.state, stream.position]).toEqual(["live", 2501n]));
  proxy.cut("reset");
  await until(() => expect(states).toEqual(["catching-up", "live", "connecting", "live"]));
  await close(id);
  await reading;
  expect(states.at(-1)).toBe("closed");
  expect(stream.position).toBe(2502n);
  stop();
  behind.close();
});

describe("a stored position", () => {
  function aStore(position?: StoredPosition) {
    const saved: (bigint | undefined)[] = [];
    const store = {
      position,
      saved,
      load: () => store.position,
      save(next: StoredPosition) {
        store.position = next;
        saved.push(next.offset);
      },
    };
    return store;
  }

  test("is saved when the next item is asked for, so a crash hands the last one over again and nothing is lost", async () => {
    const id = await aStream(3);
    const store = aStore();
    for await (const item of client.follow(id, { store })) {
      if (item.kind === "events") break; // as a crash would, before it is dealt with
    }
    expect(store.saved).toEqual([0n]);
    const second: bigint[] = [];
    for await (const item of client.follow(id, { store })) {
      if (item.kind !== "events") continue;
      second.push(...item.events.map(({ offset }) => offset));
      if (second.length === 4) await publish(server.acme, [token(id, "more")]);
      if (second.length > 4) break;
    }
    expect(second).toEqual([1n, 2n, 3n, 4n, 5n]);
    expect(store.position?.offset).toBe(4n);
  });

  test("belongs to an epoch of the stream: after a restore it is refused", async () => {
    const id = await aStream(1);
    const stale = client.follow(id, { store: aStore({ offset: 1n, epoch: 77n }) });
    await expect(stale.next()).rejects.toMatchObject({ code: Code.Aborted });
  });

  test("that cannot be saved is thrown as it is, not taken for a lost connection", async () => {
    const id = await aStream(1);
    const store = { load: () => undefined, save: () => Promise.reject(new Error("disk full")) };
    const stream = client.follow(id, { store });
    await expect(stream.forEach(() => {})).rejects.toThrow("disk full");
    await untilQuiet();
  });
});

describe("variables", () => {
  const set = (workflowId: string, name: string, value: number) =>
    server.acme.variables.setVariable({
      workflowId,
      assignment: { name, value: { kind: { case: "numberValue", value } } },
    });

  test("are watched from what they are on, through lost connections, each change once", async () => {
    const workflowId = await newWorkflow(server.acme);
    await set(workflowId, "a", 1);
    await using proxy = await openProxy(server.url);
    const behind = createTributaryClient({ baseUrl: proxy.url, credential: server.acme.key });
    const stream = behind.watchVariables(workflowId);
    const seen: unknown[] = [];
    const reading = stream.forEach(({ updateType, variable }) => {
      const value = variable?.value?.kind.value;
      seen.push([variable?.name, value, updateType === VariableUpdateType.INITIAL_VALUE]);
    });
    await until(() => expect(seen).toEqual([["a", 1, true]]));
    await until(() => expect(stream.state).toBe("live"));
    for (const value of [2, 3, 4]) {
      proxy.cut("destroy");
      await set(workflowId, "a", value);
      await until(() => expect(seen.length).toBe(value));
    }
    await close(workflowId);
    await reading;
    expect(seen).toEqual([
      ["a", 1, true],
      ["a", 2, false],
      ["a", 3, false],
      ["a", 4, false],
    ]);
    behind.close();
  });

  test("that do not exist are thrown, unless they may be missing", async () => {
    const workflowId = await newWorkflow(server.acme);
    const missing = client.watchVariables(workflowId, { names: ["no"] });
    await expect(missing.next()).rejects.toMatchObject({ code: Code.NotFound });
    const waiting = client.watchVariables(workflowId, { names: ["no"], allowMissing: true });
    const collecting = waiting.collect({ limit: 1 });
    await until(() => expect(waiting.state).toBe("live"));
    await set(workflowId, "no", 7);
    expect((await collecting).values[0]?.variable?.name).toBe("no");
    await waiting.return();
  });
});

test("recall tells the matches of a moment, and with follow those that come, through lost connections", async () => {
  await using proxy = await openProxy(server.url);
  const behind = createTributaryClient({ baseUrl: proxy.url, credential: server.acme.key });
  const session = client.openObservations();
  const observe = async (content: string) => {
    const { settled } = await session.write({ content });
    await settled;
  };
  for (const n of [1, 2, 3]) await observe(`otter number ${n}`);
  const cue = { case: "text" as const, value: "otter" };
  const once = await behind.recall({ cue, maxResults: 2 }).collect();
  expect([once.outcome, once.values.length]).toEqual(["ended", 2]);

  const following = behind.recall({ cue, follow: true });
  const seen: (string | undefined)[] = [];
  const reading = following.forEach(({ observation }) => void seen.push(observation?.content));
  await until(() => expect(seen.length).toBe(3));
  await until(() => expect(following.state).toBe("live"));
  for (const n of [4, 5]) {
    proxy.cut("reset");
    await observe(`otter number ${n}`);
    await until(() => expect(seen.length).toBe(n));
  }
  expect(seen.slice(3)).toEqual(["otter number 4", "otter number 5"]);
  await following.return();
  await reading;
  await session.close();
  behind.close();
});

test("a client that is closed ends all of it, and does not come back", async () => {
  const id = await aStream(1);
  const own = createTributaryClient({ baseUrl: server.url, credential: server.acme.key });
  const collecting = own.follow(id).collect();
  const session = own.openSession({ workflowId: id });
  await session.opened;
  own.close();
  expect(await collecting).toMatchObject({ outcome: "failed", error: { code: Code.Canceled } });
  await expect(session.closed).rejects.toThrow("the client is closed");
  await expect(own.workflows.getWorkflow({ workflowId: id })).rejects.toMatchObject({ code: Code.Canceled });
  await untilQuiet();
});
