/** The bus on a NATS that is away, silent, slow, strict or full of others' rubbish. */

import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { connect } from "@nats-io/transport-node";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createNatsBus } from "../../server/bus/nats-bus.ts";
import { systemClock } from "../../server/core/clock.ts";
import type { StoredEvent } from "../../server/core/event.ts";
import type { Bus, Notice, SignalBody } from "../../server/core/ports.ts";
import { newId } from "../support/database.ts";
import { describeWith } from "../support/describe-with.ts";
import { natsServer, startNats, type TestNats } from "../support/nats.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

const MiB = 1024 * 1024;

const notice = (streamId: string, from: number): Notice => ({ streamId, from, to: from, entries: undefined });

const withEntries = (streamId: string, from: number, payloads: readonly string[]): Notice => ({
  streamId,
  from,
  to: from + payloads.length - 1,
  entries: payloads.map((payload, i): StoredEvent => {
    const offset = from + i;
    const ids = { workflowId: newId(), taskExecutionId: "t", producerId: "", sequence: 0 };
    return { ...ids, type: 1, payload, timestampMs: 1, offset, recordedMs: 2 };
  }),
});

describeWith(natsServer, "with NATS", () => {
  let nats: TestNats;
  let buses: Bus[];
  beforeEach(async () => {
    nats = await startNats();
    buses = [];
  });
  afterEach(async () => {
    await Promise.all(buses.map((bus) => bus.close()));
    await nats.stop();
  });

  async function open(url = nats.url, clock = systemClock): Promise<Bus> {
    const options = { urls: url.split(","), prefix: "test", name: "test" };
    const bus = await createNatsBus(options, { clock, random: Math.random });
    buses.push(bus);
    return bus;
  }

  /** What `bus` hears of a stream: the first offsets of its notices. */
  async function hear(bus: Bus, streamId: string): Promise<number[]> {
    const heard: number[] = [];
    await bus.subscribe(streamId, ({ from }) => heard.push(from));
    return heard;
  }

  /** Says it again and again, since it may be lost, until it is heard. */
  const reaches = (from: Bus, streamId: string, heard: readonly number[]) =>
    until(() => {
      from.publish(notice(streamId, 1000));
      expect(heard).toContain(1000);
    });

  describe("away at the start", () => {
    test("the bus opens, serves its own instance, and the others when NATS is there", async () => {
      await nats.kill();
      const bus = await open();
      expect(bus.degraded()).toBe(`NATS is away: connect ECONNREFUSED 127.0.0.1:${nats.port}`);
      const changes: (string | undefined)[] = [];
      bus.onChange(() => changes.push(bus.degraded()));
      let restored = 0;
      bus.onRestored(() => restored++);
      const stream = newId();
      const heard = await hear(bus, stream);
      const signals: SignalBody[] = [];
      await bus.onSignal("topic", (body) => signals.push(body));
      bus.publish(notice(stream, 1));
      bus.signal("topic", "mine");
      expect(heard).toEqual([1]);
      expect(signals).toEqual(["mine"]);
      await nats.start();
      await until(() => expect(bus.degraded()).toBeUndefined());
      await until(() => expect(restored).toBe(1));
      const other = await open();
      other.publish(notice(stream, 2));
      other.signal("topic", "theirs");
      await until(() => expect(heard).toEqual([1, 2]));
      await until(() => expect(signals).toEqual(["mine", "theirs"]));
      expect(changes).toEqual([undefined]);
    });

    test("a server that accepts and says nothing costs no connection with each try", {
      timeout: 30_000,
    }, async () => {
      const sockets = () =>
        process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length;
      const before = sockets();
      await nats.pause();
      const proxy = await startTcpProxy("127.0.0.1", nats.port);
      const bus = await open(`nats://127.0.0.1:${proxy.port}`);
      expect(bus.degraded()).toBe("NATS is away: no answer within 2000 ms");
      await until(() => expect(proxy.accepted).toBeGreaterThan(3), 20_000);
      // Its own and the two ends of the proxy.
      expect(sockets() - before).toBeLessThanOrEqual(4);
      nats.resume();
      await until(() => expect(bus.degraded()).toBeUndefined());
      await bus.close();
      await proxy.close();
    });

    test("what is not NATS is not taken for it", async () => {
      const server = createServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      const { port } = server.address() as AddressInfo;
      const bus = await open(`nats://127.0.0.1:${port}`);
      expect(bus.degraded()).toBe("NATS is away: what answers is not NATS");
      await bus.close();
      server.close();
    });

    test("it closes at once, also when it never had a connection", async () => {
      await nats.kill();
      const bus = await open();
      const startMs = performance.now();
      await bus.close();
      expect(performance.now() - startMs).toBeLessThan(1500);
    });
  });

  test("after a restart of NATS every subscription is there again, and it is told once that something was lost", async () => {
    const [here, there] = [await open(), await open()];
    const streams = Array.from({ length: 100 }, newId);
    const heard = new Map<string, number[]>();
    for (const stream of streams) heard.set(stream, await hear(here, stream));
    let restored = 0;
    here.onRestored(() => restored++);
    for (let round = 1; round <= 3; round++) {
      await nats.kill();
      await until(() => expect(here.degraded()).toMatch(/^NATS is away/));
      there.publish(notice(streams[0] as string, 99)); // lost
      await nats.start();
      await until(() => expect(restored).toBe(round));
      await until(() => expect([here.degraded(), there.degraded()]).toEqual([undefined, undefined]));
      for (const stream of streams) there.publish(notice(stream, round));
      await until(() => {
        for (const stream of streams) expect(heard.get(stream)?.at(-1)).toBe(round);
      });
    }
    expect(heard.get(streams[0] as string)).toEqual([1, 2, 3]);
  });

  test("a subscription while NATS is silent takes a second, and is live when it speaks again", async () => {
    const [here, there] = [await open(), await open()];
    const stream = newId();
    let restored = 0;
    here.onRestored(() => restored++);
    await nats.pause();
    const startMs = performance.now();
    const heard = await hear(here, stream);
    expect(performance.now() - startMs).toBeGreaterThan(900);
    expect(performance.now() - startMs).toBeLessThan(3000);
    await until(() => expect(here.degraded()).toBe("NATS does not answer"));
    here.publish(notice(stream, 1));
    expect(heard).toEqual([1]);
    expect(restored).toBe(0);
    nats.resume();
    await until(() => expect(restored).toBe(1));
    await until(() => expect(here.degraded()).toBeUndefined());
    there.publish(notice(stream, 2));
    await until(() => expect(heard).toEqual([1, 2]));
  });

  test("a connection that stays silent is given up for another one", { timeout: 40_000 }, async () => {
    const proxy = await startTcpProxy("127.0.0.1", nats.port);
    try {
      const here = await open(`nats://127.0.0.1:${proxy.port}`);
      const there = await open();
      const stream = newId();
      const heard = await hear(here, stream);
      const troubles: (string | undefined)[] = [];
      here.onChange(() => troubles.push(here.degraded()));
      proxy.silence();
      await until(
        () => expect(troubles).toEqual(["NATS does not answer", "NATS is away: it did not answer"]),
        20_000,
      );
      proxy.restore();
      await until(() => expect(here.degraded()).toBeUndefined());
      there.publish(notice(stream, 1));
      await until(() => expect(heard).toEqual([1]));
      expect(proxy.accepted).toBeGreaterThan(1);
    } finally {
      await proxy.close();
    }
  });

  test("a connection that is cut again and again heals each time", async () => {
    const proxy = await startTcpProxy("127.0.0.1", nats.port);
    try {
      const [here, there] = [await open(`nats://127.0.0.1:${proxy.port}`), await open()];
      const stream = newId();
      const heard = await hear(here, stream);
      for (let round = 0; round < 5; round++) {
        heard.length = 0;
        proxy.cut();
        await until(() => expect(here.degraded()).toBeDefined());
        proxy.restore();
        await reaches(there, stream, heard);
      }
    } finally {
      await proxy.close();
    }
  });

  test("while NATS takes nothing, what is held for it is bounded; when it does again, all is well", async () => {
    const bus = await open();
    const stream = newId();
    const heard = await hear(bus, stream);
    await nats.pause();
    const large = withEntries(stream, 1, ["x".repeat(MiB / 2)]);
    const before = process.memoryUsage();
    const held = () => {
      const { heapUsed, external, arrayBuffers } = process.memoryUsage();
      return heapUsed + external + arrayBuffers - before.heapUsed - before.external - before.arrayBuffers;
    };
    for (let i = 0; i < 1000; i++) {
      bus.publish(large); // 500 MB in all
      if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    for (let i = 0; i < 200_000; i++) bus.publish(notice(stream, i + 1));
    expect(heard.length).toBe(201_000);
    expect(bus.degraded()).toMatch(/^NATS takes less than there is to say; .*\(\d+ not sent/);
    collect();
    expect(held()).toBeLessThan(64 * MiB);
    nats.resume();
    await until(() => expect(bus.degraded()).toBeUndefined());
    const other = await open();
    const there = await hear(other, stream);
    bus.publish(notice(stream, 7));
    await until(() => expect(there).toEqual([7]));
  });

  test("a notice larger than a message comes in several, and one too large for any without its entries", async () => {
    const [here, there] = [await open(), await open()];
    const stream = newId();
    const got: Notice[] = [];
    await here.subscribe(stream, (received) => got.push(received));
    const third = "x".repeat(MiB / 3);
    const sent = withEntries(stream, 1, [third, third, third, third, third]);
    there.publish(sent);
    there.publish(withEntries(stream, 6, ["y".repeat(MiB)]));
    await until(() => expect(got.at(-1)).toEqual({ streamId: stream, from: 6, to: 6, entries: undefined }));
    expect(got.map(({ from, to }) => [from, to])).toEqual([
      [1, 2],
      [3, 4],
      [5, 5],
      [6, 6],
    ]);
    expect(got.flatMap(({ entries }) => entries ?? [])).toEqual(sent.entries);
  });

  test("rubbish on its subjects is passed over", async () => {
    const [here, there] = [await open(), await open()];
    const stream = newId();
    const heard = await hear(here, stream);
    const signals: SignalBody[] = [];
    await here.onSignal("topic", (body) => signals.push(body));
    const stranger = await connect({ servers: nats.url });
    for (const rubbish of ["", "x", "{", "\u0001", "\u0001".repeat(400), JSON.stringify({ from: 1 })]) {
      stranger.publish(`test.stream.${stream}`, rubbish);
      if (rubbish !== "") stranger.publish("test.signal.topic", rubbish.slice(0, 1));
    }
    await stranger.flush();
    there.publish(notice(stream, 1));
    there.signal("topic", "good");
    await until(() => expect(heard).toEqual([1]));
    await until(() => expect(signals.at(-1)).toBe("good"));
    expect(here.degraded()).toBeUndefined();
    await stranger.close();
  });

  test("what an instance says comes to its own listeners once, and at once", async () => {
    const [here, there] = [await open(), await open()];
    const stream = newId();
    const heard = await hear(here, stream);
    const signals: SignalBody[] = [];
    await here.onSignal("topic", (body) => signals.push(body));
    const echo = await hear(there, stream);
    here.publish(notice(stream, 1));
    here.signal("topic", 1);
    expect([heard, signals]).toEqual([[1], [1]]);
    await until(() => expect(echo).toEqual([1]));
    there.publish(notice(stream, 2)); // an echo would have come before
    there.signal("topic", 2);
    await until(() =>
      expect([heard, signals]).toEqual([
        [1, 2],
        [1, 2],
      ]),
    );
  });

  test("a stream is one subscription however many listen, and none when nobody does", async () => {
    const [here, there] = [await open(), await open()];
    const [stream, other] = [newId(), newId()];
    const ours = async () => (await nats.subscriptions()).filter((subject) => subject.includes(stream));
    const heard: string[] = [];
    const stops = await Promise.all(
      ["a", "b", "c"].map((name) => here.subscribe(stream, () => heard.push(name))),
    );
    expect(await ours()).toEqual([`test.stream.${stream}`]);
    there.publish(notice(stream, 1));
    await until(() => expect(heard.toSorted()).toEqual(["a", "b", "c"]));
    stops[0]?.();
    stops[0]?.();
    const heardOther = await hear(here, other);
    expect(await ours()).toHaveLength(1);
    for (const stop of stops) stop();
    await reaches(there, other, heardOther);
    await until(async () => expect(await ours()).toEqual([]));
  });
});

describeWith(natsServer, "with a NATS that checks who comes", () => {
  const users = `authorization { users: [
    { user: "trib", password: "s3cr%t/", permissions: { publish: "test.>", subscribe: "test.>" } },
    { user: "dumb", password: "pw", permissions: { publish: "nothing", subscribe: "test.>" } }
    { user: "deaf", password: "pw", permissions: { publish: "test.>", subscribe: "nothing" } }
  ] }`;
  const secrets = /s3cr|pw|t0k/;

  async function withBus(
    config: string,
    credentials: string,
    use: (bus: Bus, nats: TestNats) => Promise<void>,
    scheme = "nats",
  ): Promise<void> {
    const nats = await startNats(config);
    try {
      const urls = [`${scheme}://${credentials}127.0.0.1:${nats.port}`];
      const options = { urls, prefix: "test", name: "test" };
      const bus = await createNatsBus(options, { clock: systemClock, random: Math.random });
      try {
        await use(bus, nats);
      } finally {
        await bus.close();
      }
    } finally {
      await nats.stop();
    }
  }

  test("a user and a password are those of the URL", async () => {
    await withBus(users, "trib:s3cr%25t%2F@", async (bus) => expect(bus.degraded()).toBeUndefined());
  });

  test("a token is that of the URL", async () => {
    await withBus('authorization { token: "t0k" }', "t0k@", async (bus) =>
      expect(bus.degraded()).toBeUndefined(),
    );
  });

  test("a wrong password is told without it, and tried again for ever", async () => {
    await withBus(users, "trib:pw@", async (bus, nats) => {
      const said = new Set<string | undefined>([bus.degraded()]);
      bus.onChange(() => said.add(bus.degraded()));
      await until(async () => expect(await nats.connectionsSoFar()).toBeGreaterThan(3));
      expect([...said].join()).toMatch(/^NATS is away: .*Authorization/i);
      expect([...said].join()).not.toMatch(secrets);
    });
  });

  test("a subject that it forbids is trouble, and nothing hangs", async () => {
    await withBus(users, "deaf:pw@", async (bus) => {
      const heard: number[] = [];
      const stream = newId();
      await bus.subscribe(stream, ({ from }) => heard.push(from));
      await until(() => expect(bus.degraded()).toMatch(/^NATS: .*permission/i));
      bus.publish(notice(stream, 1));
      expect(heard).toEqual([1]);
    });
  });

  test("so is one that it forbids to publish on", async () => {
    await withBus(users, "dumb:pw@", async (bus) => {
      bus.publish(notice(newId(), 1));
      await until(() => expect(bus.degraded()).toMatch(/^NATS: .*permission/i));
      expect(bus.degraded()).not.toMatch(secrets);
    });
  });

  test("tls:// is not served without TLS", async () => {
    await withBus("", "", async (bus) => expect(bus.degraded()).toMatch(/^NATS is away: .*tls/), "tls");
  });

  test("messages are as small as it wants them", async () => {
    await withBus("max_payload: 1000", "", async (bus, nats) => {
      const stream = newId();
      const stranger = await connect({ servers: nats.url });
      const sizes: number[] = [];
      stranger.subscribe("test.>", { callback: (_, { data }) => void sizes.push(data.length) });
      await stranger.flush();
      bus.publish(withEntries(stream, 1, ["x".repeat(600), "x".repeat(600), "x".repeat(2000), "y"]));
      bus.signal("topic", "x".repeat(5000)); // lost
      bus.signal("topic", "last");
      await until(() => expect(sizes.at(-1)).toBe(6));
      expect(sizes).toHaveLength(4);
      for (const size of sizes) expect(size).toBeLessThanOrEqual(1000);
      expect(bus.degraded()).toBeUndefined();
      await stranger.close();
    });
  });
});
