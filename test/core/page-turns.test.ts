/** Pages of history are read a few at a time, in the order of asking, and a turn of the event loop is between two. */
import { expect, test } from "vitest";
import { PageTurns } from "../../server/core/page-turns.ts";
import type { Page, PageRequest } from "../../server/core/ports.ts";

const request = (cursor: number): PageRequest => ({
  streamId: "s",
  scope: { kind: "tree", workflowId: "w" },
  filter: { types: undefined, tasks: undefined },
  cursor,
  upTo: 100,
  descending: false,
  limit: 10,
});
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

test("never more at once than allowed; who waits longest is next; a read that fails gives its place on", async () => {
  const reads: { cursor: number; answer: PromiseWithResolvers<Page | undefined> }[] = [];
  const store = {
    readPage({ cursor }: PageRequest) {
      const answer = Promise.withResolvers<Page | undefined>();
      reads.push({ cursor, answer });
      return answer.promise;
    },
  };
  const turns = new PageTurns(store, 2);
  const asked = [1, 2, 3, 4].map((cursor) => turns.readPage(request(cursor)));
  await turn();
  expect(reads.map(({ cursor }) => cursor)).toEqual([1, 2]);
  reads[1]?.answer.reject(new Error("away"));
  await expect(asked[1]).rejects.toThrow("away");
  expect(reads).toHaveLength(2); // not before others had their turn
  await turn();
  await turn();
  expect(reads.map(({ cursor }) => cursor)).toEqual([1, 2, 3]);
  for (let i = 0; i < 4; i++) {
    for (const { answer } of reads) answer.resolve(undefined);
    await turn();
  }
  await Promise.all([asked[0], asked[2], asked[3]]);
  expect(reads.map(({ cursor }) => cursor)).toEqual([1, 2, 3, 4]);
  // All places are free again.
  void turns.readPage(request(5));
  void turns.readPage(request(6));
  await turn();
  expect(reads).toHaveLength(6);
});
