/** Readers that ask for the same page share it while it is under way, and a full one for a second while somebody has it. */
import { expect, test } from "vitest";
import type { Page, PageRequest } from "../../server/core/ports.ts";
import { SharedPages } from "../../server/core/shared-pages.ts";
import { ManualClock } from "../support/manual-clock.ts";

const request = (cursor: number, upTo = 100, types?: readonly number[]): PageRequest => ({
  streamId: "s",
  scope: { kind: "tree", workflowId: "w" },
  filter: { types, tasks: undefined },
  cursor,
  upTo,
  descending: false,
  limit: 10,
});

function slowStore() {
  const clock = new ManualClock();
  const reads: { request: PageRequest; answer: PromiseWithResolvers<Page | undefined> }[] = [];
  const pages = new SharedPages(
    {
      readPage(asked) {
        const answer = Promise.withResolvers<Page | undefined>();
        reads.push({ request: asked, answer });
        return answer.promise;
      },
    },
    clock,
  );
  return { clock, reads, pages };
}

const page = (scannedTo: number): Page => ({ events: [], scannedTo, floorOffset: 0, tailOffset: 200 });

test("readers that ask for the same page while it is under way get one answer; who asks later gets a newer one", async () => {
  const { reads, pages } = slowStore();
  const [first, second] = [pages.read(request(5)), pages.read(request(5, 120))];
  expect(reads).toHaveLength(1);
  reads[0]?.answer.resolve(page(100));
  expect(await second).toBe(await first);
  const later = pages.read(request(5, 130));
  expect(reads.map((read) => read.request.upTo)).toEqual([100, 130]);
  reads[1]?.answer.resolve(page(130));
  expect(await later).toEqual(page(130));
});

test("pages that differ in where they begin, in their filter or in their length are read apart", () => {
  const { reads, pages } = slowStore();
  void pages.read(request(5));
  void pages.read(request(6));
  void pages.read(request(5, 100, [1]));
  void pages.read({ ...request(5), limit: 9 });
  void pages.read({ ...request(5), scope: { kind: "workflow", workflowId: "w" } });
  expect(reads).toHaveLength(5);
});

test("a read that failed fails all who wait for it, and the next one is a new one", async () => {
  const { reads, pages } = slowStore();
  const waiting = [pages.read(request(5)), pages.read(request(5))].map((read) =>
    expect(read).rejects.toThrow("away"),
  );
  reads[0]?.answer.reject(new Error("away"));
  await Promise.all(waiting);
  void pages.read(request(5));
  expect(reads).toHaveLength(2);
});

test("who comes for a full page later gets it while a reader has it, for a second, and then a new one", async () => {
  const { clock, reads, pages } = slowStore();
  const first = pages.read(request(5));
  reads[0]?.answer.resolve(page(50));
  const had = await first;
  expect(await pages.read(request(5, 130))).toBe(had);
  clock.move(1000);
  expect(await pages.read(request(5, 130))).toBe(had);
  clock.move(1);
  const later = pages.read(request(5, 130));
  expect(reads).toHaveLength(2);
  reads[1]?.answer.resolve(page(60));
  expect(await later).not.toBe(had);
});

test("a page that ended because no more was known is read again by who knows of more, and only by them", async () => {
  const { reads, pages } = slowStore();
  const first = pages.read(request(5));
  reads[0]?.answer.resolve(page(100));
  const had = await first;
  expect(await pages.read(request(5))).toBe(had);
  void pages.read(request(5, 101));
  expect(reads.map((read) => read.request.upTo)).toEqual([100, 101]);
});

test("neither a failed read nor a stream that is gone is remembered", async () => {
  const { reads, pages } = slowStore();
  const gone = pages.read(request(5));
  reads[0]?.answer.resolve(undefined);
  expect(await gone).toBeUndefined();
  const failed = expect(pages.read(request(5))).rejects.toThrow("away");
  reads[1]?.answer.reject(new Error("away"));
  await failed;
  void pages.read(request(5));
  expect(reads).toHaveLength(3);
});
