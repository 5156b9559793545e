/** What is counted where the API cannot show it: notices that were lost, and what a reader waited for. */
import { expect, test } from "vitest";
import { createCounts } from "../../server/core/counts.ts";
import { RejectionCode } from "../../server/core/session/rejection.ts";
import { FakeStream } from "../support/fake-stream.ts";

const settle = () => new Promise((resolve) => setImmediate(resolve));

test("a notice that is late is not lost; one that the tail check had to replace is, once", async () => {
  const stream = new FakeStream();
  const { live } = stream;
  const { healed } = stream.traffic.counts;
  const check = async () => {
    live.checkTail(stream.events.length);
    await settle();
  };
  stream.append({}, {});
  await check();
  // Committed, and its notice on its way while the tail is looked at.
  const late = stream.commit({});
  await check();
  live.onNotice(late);
  await check();
  expect(healed).toEqual({ notice: 0, tail_check: 0 });

  stream.commit({}, {}); // nobody hears of it
  await check();
  expect([live.window.tail, healed.tail_check]).toEqual([5, 0]);
  await check();
  expect(healed).toEqual({ notice: 0, tail_check: 1 });
  await check();
  stream.append({});
  await check();
  expect(healed).toEqual({ notice: 0, tail_check: 1 });

  stream.commit({}); // lost, and the next one tells
  stream.append({});
  await check();
  await check();
  expect(healed).toEqual({ notice: 1, tail_check: 1 });
  live.onNotice({ streamId: "stream", from: 8, to: 8, entries: undefined }); // doubled
  expect(healed).toEqual({ notice: 1, tail_check: 1 });
});

test("each code of a session's rejections has a reason of its own", () => {
  const { rejections } = createCounts();
  for (const code of Object.keys(RejectionCode)) expect(rejections).toHaveProperty(code.toLowerCase(), 0);
});
