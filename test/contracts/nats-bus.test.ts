/** The bus over a real nats-server: within one instance, and from one to another. */
import { afterAll, beforeAll } from "vitest";
import { createNatsBus } from "../../server/bus/nats-bus.ts";
import { systemClock } from "../../server/core/clock.ts";
import type { Bus } from "../../server/core/ports.ts";
import { newId } from "../support/database.ts";
import { describeWith } from "../support/describe-with.ts";
import { natsServer, startNats, type TestNats } from "../support/nats.ts";
import { busContract } from "./bus-contract.ts";

describeWith(natsServer, "NATS", () => {
  let nats: TestNats;
  beforeAll(async () => {
    nats = await startNats();
  });
  afterAll(() => nats.stop());

  const open = () =>
    createNatsBus(
      { urls: [nats.url], prefix: "test", name: "test" },
      { clock: systemClock, random: Math.random },
    );

  busContract("NATS, one instance", open);
  busContract("NATS, from one instance to another", async () => {
    const [here, there] = await Promise.all([open(), open()]);
    return pair(here, there);
  });
});

/** Says at one, listens at the other. */
function pair(here: Bus, there: Bus): Bus {
  /** What was said before has reached the server. */
  const settle = async () => {
    const topic = newId();
    const { promise, resolve } = Promise.withResolvers<void>();
    const stop = await there.onSignal(topic, () => resolve());
    here.signal(topic, null);
    await promise;
    stop();
  };
  return {
    ...there,
    publish: here.publish,
    signal: here.signal,
    async subscribe(...args) {
      await settle();
      return there.subscribe(...args);
    },
    async onSignal(...args) {
      await settle();
      return there.onSignal(...args);
    },
    async close() {
      await here.close();
      await there.close();
    },
  };
}
