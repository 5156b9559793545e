/** A client that leaves ends its handler: in every kind of call, at every moment, in every protocol and HTTP version. */
import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { type Kind, kindsOf, listen, type OrderInit, Speaker } from "./calls.ts";
import { createCaller, wires } from "./combinations.ts";
import { envelope, proto } from "./envelopes.ts";
import { Silence } from "./schema.ts";
import { useStack } from "./stack.ts";
import { begin, paths } from "./wire.ts";

const stack = useStack();

afterAll(() => expect(stack.bugs, "a client that leaves is no bug").toEqual([]));

describe.each(wires)("$name", (wire) => {
  const caller = createCaller(stack, wire);

  async function expectCancelled(call: string): Promise<void> {
    await until(() => {
      const { ended, abortedWith, failedWith } = stack.watched(call);
      expect(ended).toBe(true);
      // HTTP/1.1 tells no reason: a connection that breaks is an abort.
      expect([Code.Canceled, Code.Aborted]).toContain(abortedWith);
      expect(failedWith).toBe(abortedWith);
    });
  }

  /** Leaves when the handler has read so many orders. */
  async function leave(kind: Kind, call: string, orders: readonly OrderInit[] | Speaker, read: number) {
    const controller = new AbortController();
    const heard = listen(caller, kind, orders, { signal: controller.signal });
    await until(() => expect(stack.watched(call).orders).toBe(read));
    expect(stack.watched(call).ended).toBe(false);
    controller.abort();
    const { error, answers } = await heard;
    expect(error?.code).toBe(Code.Canceled);
    await expectCancelled(call);
    return answers;
  }

  test.each(kindsOf(caller))("%s: after it has sent all, before an answer", async (kind) => {
    const call = `${caller.name} ${kind} silent`;
    expect(await leave(kind, call, [{ call, silence: Silence.BEFORE_ANSWERS }], 1)).toEqual([]);
  });

  test.each(kindsOf(caller).filter((kind) => kind === "collect" || kind === "converse"))(
    "%s: while it still may send",
    async (kind) => {
      const call = `${caller.name} ${kind} sending`;
      const speaker = new Speaker();
      speaker.say({ call, silence: Silence.BEFORE_ANSWERS });
      speaker.say({});
      expect(await leave(kind, call, speaker, 1)).toEqual([]);
      speaker.close();
    },
  );

  test.each(kindsOf(caller).filter((kind) => kind === "collect" || kind === "converse"))(
    "%s: a connection that breaks in the midst of the orders is not taken for their end",
    async (kind) => {
      const name = `${caller.name} ${kind} broken`;
      const call = begin(stack.url, {
        http: wire.http,
        path: paths[kind as "collect" | "converse"],
        headers: { "content-type": `application/${wire.protocol}+proto` },
        body: undefined,
      });
      call.write(envelope(proto({ call: name })));
      await until(() => expect(stack.watched(name).orders).toBe(1));
      call.close();
      await expectCancelled(name);
    },
  );

  test.each(kindsOf(caller).filter((kind) => kind === "recite" || kind === "converse"))(
    "%s: after two answers",
    async (kind) => {
      const call = `${caller.name} ${kind} answered`;
      const controller = new AbortController();
      const order = { call, answers: 2, silence: Silence.AFTER_ANSWERS };
      const heard = await listen(caller, kind, [order], { signal: controller.signal }, ({ number }) => {
        if (number === 2) controller.abort();
      });
      expect(heard.answers).toHaveLength(2);
      expect(heard.error?.code).toBe(Code.Canceled);
      await expectCancelled(call);
    },
  );

  if (!caller.isDuplex) return;

  test("converse: in the midst of its turns", async () => {
    const call = `${caller.name} turns`;
    const controller = new AbortController();
    const speaker = new Speaker();
    speaker.say({ call, inTurns: true });
    const heard = await listen(caller, "converse", speaker, { signal: controller.signal }, ({ number }) => {
      if (number === 3) controller.abort();
      else speaker.say({});
    });
    expect(heard.answers).toHaveLength(3);
    expect(heard.error?.code).toBe(Code.Canceled);
    // Node's client ends its side before it breaks off: a handler that reads may see the one without the other.
    await until(() => expect(stack.watched(call)).toMatchObject({ ended: true, orders: 3 }));
    speaker.close();
  });
});
