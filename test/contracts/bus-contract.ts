/** What every Bus must do. An implementation's test file calls this with a factory. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { limits } from "../../server/core/limits.ts";
import type { Bus, Notice, SignalBody } from "../../server/core/ports.ts";
import { newId } from "../support/database.ts";
import { until } from "../support/until.ts";

const notice = (streamId: string, from: number): Notice => ({ streamId, from, to: from, entries: undefined });

export function busContract(name: string, createBus: () => Promise<Bus>): void {
  describe(`the bus in ${name}`, () => {
    let bus: Bus;
    beforeEach(async () => {
      bus = await createBus();
    });
    afterEach(() => bus.close());

    test("delivers what is published after the subscription was confirmed, in order", async () => {
      const stream = newId();
      const got: number[] = [];
      await bus.subscribe(stream, ({ from }) => got.push(from));
      for (let i = 1; i <= 1000; i++) bus.publish(notice(stream, i));
      await until(() => expect(got).toEqual(Array.from({ length: 1000 }, (_, i) => i + 1)));
    });

    test("delivers to every subscriber of the stream and to no other", async () => {
      const [one, two] = [newId(), newId()];
      const got: string[] = [];
      await bus.subscribe(one, () => got.push("one a"));
      await bus.subscribe(one, () => got.push("one b"));
      await bus.subscribe(two, () => got.push("two"));
      bus.publish(notice(one, 1));
      bus.publish(notice(two, 1));
      await until(() => expect(got.toSorted()).toEqual(["one a", "one b", "two"]));
    });

    test("publishes without subscribers, and a late one gets only what is new", async () => {
      const stream = newId();
      bus.publish(notice(stream, 1));
      const got: number[] = [];
      await bus.subscribe(stream, ({ from }) => got.push(from));
      bus.publish(notice(stream, 2));
      await until(() => expect(got).toEqual([2]));
    });

    test("brings the entries unchanged", async () => {
      const streamId = newId();
      const got: Notice[] = [];
      await bus.subscribe(streamId, (received) => got.push(received));
      const entry = {
        workflowId: newId(),
        taskExecutionId: "tä",
        producerId: "p",
        sequence: 2 ** 53 - 1,
        type: 1,
        payload: new Uint8Array([0, 1, 255]),
        timestampMs: 5,
        offset: 1,
        recordedMs: 6,
      };
      const sent: Notice = { streamId, from: 1, to: 1, entries: [entry] };
      bus.publish(sent);
      await until(() => expect(got).toEqual([sent]));
    });

    test("stops with the subscription, not with that of another one", async () => {
      const stream = newId();
      const got: string[] = [];
      const stop = await bus.subscribe(stream, () => got.push("first"));
      await bus.subscribe(stream, () => got.push("second"));
      stop();
      stop();
      bus.publish(notice(stream, 1));
      await until(() => expect(got).toEqual(["second"]));
    });

    test("brings signals to every listener of the topic and to no other, each a copy of its own", async () => {
      const topic = `workflows.${newId()}`;
      const body = { text: "ä", list: [1, 2.5, null, true], inner: { a: "b" } };
      const got: [string, SignalBody][] = [];
      await bus.onSignal(topic, (received) => {
        got.push(["one", structuredClone(received)]);
        (received as { text: string }).text = "changed";
      });
      await bus.onSignal(topic, (received) => got.push(["two", received]));
      await bus.onSignal(newId(), () => got.push(["other", null]));
      await bus.subscribe(topic, () => got.push(["a notice", null]));
      bus.signal(topic, body);
      await until(() =>
        expect(got.toSorted(([a], [b]) => a.localeCompare(b))).toEqual([
          ["one", body],
          ["two", body],
        ]),
      );
    });

    test("signals without listeners; a late one gets only what is new, in order, until it stops", async () => {
      const topic = newId();
      bus.signal(topic, 0);
      const got: SignalBody[] = [];
      const stopped: SignalBody[] = [];
      const stop = await bus.onSignal(topic, (body) => stopped.push(body));
      await bus.onSignal(topic, (body) => got.push(body));
      stop();
      stop();
      for (let i = 1; i <= 1000; i++) bus.signal(topic, i);
      await until(() => expect(got).toEqual(Array.from({ length: 1000 }, (_, i) => i + 1)));
      expect(stopped).toEqual([]);
    });

    test("carries signals up to their bound, and refuses what no bus could carry", async () => {
      const topic = "a-topic.of_2.Words";
      const largest = "x".repeat(limits.signalBytes - 2);
      const got: SignalBody[] = [];
      await bus.onSignal(topic, (body) => got.push(body));
      expect(() => bus.signal(topic, `${largest}x`)).toThrow(RangeError);
      for (const wrong of ["", "a b", "a..b", ".a", "a.", "a.*", "a.>", "ä"])
        expect(() => bus.signal(wrong, null), wrong).toThrow(RangeError);
      bus.signal(topic, largest);
      await until(() => expect(got).toEqual([largest]));
    });

    test("is not degraded", () => {
      expect(bus.degraded()).toBeUndefined();
    });
  });
}
