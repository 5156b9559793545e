/** What a live stream keeps of the pages that it reads. */
import { expect, test } from "vitest";
import type { StoredEvent } from "../../server/core/event.ts";
import type { EventLayout } from "../../server/core/event-layout.ts";
import { FakeStream } from "../support/fake-stream.ts";
import { until } from "../support/until.ts";

/** As pages bring them: its properties are those of its class. */
function inBytes(event: StoredEvent): StoredEvent {
  const lying = Object.create(event) as StoredEvent;
  return Object.defineProperty(lying, "layOut", { value: (_: EventLayout) => {}, enumerable: true });
}

test("its window keeps copies of what lies in the bytes of a page, and not the page", async () => {
  const stream = new FakeStream();
  const { entries = [], ...notice } = stream.commit({ payload: "a" }, { payload: "b" });
  stream.events.splice(0, 2, ...entries.map(inBytes));
  stream.live.onNotice({ ...notice, entries: undefined });
  await until(() => expect(stream.live.window.length).toBe(2));
  const kept = [stream.live.window.at(1), stream.live.window.at(2)];
  expect(kept.map((event) => event?.layOut)).toEqual([undefined, undefined]);
  expect(kept).toMatchObject(entries);
  // Own properties: spreading takes them.
  expect(kept.map((event) => ({ ...event }).payload)).toEqual(["a", "b"]);
});
