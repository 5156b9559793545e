/** What every EventStore must do. An implementation's test file calls this with a factory. */
import { describe, expect, test } from "vitest";
import type { Command, EntriesResult } from "../../server/core/command.ts";
import type { EventStore, PageRequest, ScopeKey } from "../../server/core/ports.ts";
import { anEvent, close, create, entries } from "../support/commands.ts";
import { newId } from "../support/database.ts";

export function eventStoreContract(name: string, getStore: () => EventStore): void {
  describe(`the event store on ${name}`, () => {
    const append = async (...commands: Command[]) => getStore().append(0, commands);

    async function aTree() {
      const [stream, root, child, grandchild] = [newId(), newId(), newId(), newId()];
      await append(create(stream, { workflowId: root }));
      await append(create(stream, { workflowId: child, parentWorkflowId: root }));
      await append(create(stream, { workflowId: grandchild, parentWorkflowId: child }));
      return { stream, root, child, grandchild };
    }

    const page = (streamId: string, scope: ScopeKey, change: Partial<PageRequest> = {}) =>
      getStore().readPage({
        streamId,
        scope,
        filter: { types: undefined, tasks: undefined },
        cursor: 0,
        upTo: Number.MAX_SAFE_INTEGER,
        descending: false,
        limit: 1000,
        ...change,
      });

    test("gives a notice with the entries that it stored, and none for what it did not", async () => {
      const { stream, root } = await aTree();
      const event = anEvent({ workflowId: root, payload: "a", producerId: "p", sequence: 1 });
      const first = await append(entries(stream, [event]));
      expect(first.notices).toMatchObject([
        { streamId: stream, from: 4, to: 4, entries: [{ ...event, offset: 4 }] },
      ]);
      expect((await append(entries(stream, [event]))).notices).toEqual([]);
    });

    test("gives a notice of a lifecycle change", async () => {
      const { stream, child } = await aTree();
      const { notices } = await append(close(stream, child, true));
      expect(notices).toMatchObject([{ streamId: stream, from: 4, to: 5 }]);
    });

    test("stores each payload as it was", async () => {
      const { stream, root } = await aTree();
      const payloads = [
        undefined,
        "",
        "a\u0000b",
        'ü🦊\n"',
        new Uint8Array([0, 255]),
        new Uint8Array(0),
        "x".repeat(70_000),
      ];
      await append(
        entries(
          stream,
          payloads.map((payload) => anEvent({ workflowId: root, payload })),
        ),
      );
      const found = await page(stream, { kind: "tree", workflowId: root }, { cursor: 3 });
      expect(
        found?.events.map(({ payload }) =>
          payload instanceof Uint8Array ? new Uint8Array(payload) : payload,
        ),
      ).toEqual(payloads);
    });

    test("reads each scope, and nothing else", async () => {
      const { stream, root, child, grandchild } = await aTree();
      await append(
        entries(stream, [
          anEvent({ workflowId: root, taskExecutionId: "t" }),
          anEvent({ workflowId: child, taskExecutionId: "t" }),
          anEvent({ workflowId: child, taskExecutionId: "u" }),
          anEvent({ workflowId: grandchild, taskExecutionId: "t" }),
        ]),
      );
      const offsets = async (scope: ScopeKey) =>
        (await page(stream, scope))?.events.map((event) => event.offset);
      expect(await offsets({ kind: "tree", workflowId: root })).toEqual([1, 2, 3, 4, 5, 6, 7]);
      expect(await offsets({ kind: "subtree", workflowId: child })).toEqual([2, 3, 5, 6, 7]);
      expect(await offsets({ kind: "workflow", workflowId: child })).toEqual([2, 5, 6]);
      expect(await offsets({ kind: "task", workflowId: child, taskExecutionId: "t" })).toEqual([5]);
    });

    test("pages in both directions, bounded by entries and by bytes, and says how far it looked", async () => {
      const { stream, root } = await aTree();
      const tree: ScopeKey = { kind: "tree", workflowId: root };
      await append(
        entries(
          stream,
          Array.from({ length: 7 }, () => anEvent({ workflowId: root, payload: "x".repeat(300_000) })),
        ),
      );
      const offsets = (found: Awaited<ReturnType<typeof page>>) => found?.events.map((event) => event.offset);
      const first = await page(stream, tree, { limit: 2 });
      expect([offsets(first), first?.scannedTo]).toEqual([[1, 2], 2]);
      const second = await page(stream, tree, { cursor: 3 });
      expect([offsets(second), second?.scannedTo]).toEqual([[4, 5, 6], 6]);
      const last = await page(stream, tree, { cursor: 9, upTo: 10 });
      expect([offsets(last), last?.scannedTo]).toEqual([[10], 10]);
      const back = await page(stream, tree, { descending: true, cursor: 5 });
      expect([offsets(back), back?.scannedTo]).toEqual([[4, 3, 2, 1], 0]);
    });

    test("small and large entries in turn come once each, in order, whatever the direction and the filter", async () => {
      const { stream, root } = await aTree();
      const tree: ScopeKey = { kind: "tree", workflowId: root };
      const sizes = Array.from({ length: 60 }, (_, i) => (i % 5 === 4 ? 200_000 : 10));
      for (const size of sizes) {
        await append(entries(stream, [anEvent({ workflowId: root, payload: "x".repeat(size) })]));
      }
      const all = sizes.map((_, i) => i + 4);
      for (const filter of [
        { types: undefined, tasks: undefined },
        { types: [1], tasks: undefined },
      ]) {
        for (const descending of [false, true]) {
          const seen: number[] = [];
          for (let cursor = descending ? 1000 : 3; cursor !== (descending ? 0 : 63); ) {
            const found = await page(stream, tree, { cursor, descending, upTo: 63, filter });
            const bytes = found?.events.reduce((sum, event) => sum + (event.payload?.length ?? 0), 0) ?? 0;
            expect(bytes).toBeLessThanOrEqual(1024 * 1024);
            seen.push(...(found?.events.map((event) => event.offset) ?? []));
            cursor = found?.scannedTo ?? 0;
          }
          const expected = descending ? all.toReversed() : all;
          expect(seen.filter((offset) => offset > 3)).toEqual(expected);
        }
      }
    });

    test("one entry larger than a page stands alone", async () => {
      const { stream, root } = await aTree();
      const large = anEvent({ workflowId: root, payload: "x".repeat(1024 * 1024) });
      await append(entries(stream, [anEvent({ workflowId: root }), large, anEvent({ workflowId: root })]));
      const tree: ScopeKey = { kind: "tree", workflowId: root };
      expect((await page(stream, tree, { cursor: 3 }))?.events.length).toBe(1);
      expect((await page(stream, tree, { cursor: 4 }))?.events.length).toBe(1);
    });

    test("a rare match costs several bounded pages, and none is passed over", async () => {
      const { stream, root } = await aTree();
      for (let i = 0; i < 25; i++) {
        await append(
          entries(
            stream,
            Array.from({ length: 1000 }, (_, n) =>
              anEvent({ workflowId: root, type: i === 24 && n === 999 ? 3 : 1 }),
            ),
          ),
        );
      }
      const filter = { types: [3], tasks: undefined };
      const found: number[] = [];
      let pages = 0;
      for (let cursor = 0; cursor < 25_003; pages++) {
        const next = await page(stream, { kind: "tree", workflowId: root }, { filter, cursor, upTo: 25_003 });
        found.push(...(next?.events.map((event) => event.offset) ?? []));
        expect(next?.scannedTo).toBeGreaterThan(cursor);
        cursor = next?.scannedTo ?? 0;
      }
      expect(found).toEqual([25_003]);
      expect(pages).toBeGreaterThan(1);
    });

    test("knows the state of a scope, its end, and the tails", async () => {
      const { stream, root, child } = await aTree();
      const store = getStore();
      const tree: ScopeKey = { kind: "tree", workflowId: root };
      expect(await store.readScope(stream, tree)).toMatchObject({
        tailOffset: 3,
        floorOffset: 0,
        status: 1,
        openInSubtree: 3,
        finalOffset: undefined,
      });
      await append(entries(stream, [anEvent({ workflowId: child, type: 10 })]));
      expect(
        await store.readScope(stream, { kind: "task", workflowId: child, taskExecutionId: "task" }),
      ).toMatchObject({ finalOffset: 4, taskOutcome: 10, status: 1 });
      await append(close(stream, root, true, 3));
      expect(await store.readScope(stream, tree)).toMatchObject({
        status: 3,
        openInSubtree: 0,
        finalOffset: 7,
      });
      expect(await store.readScope(stream, { kind: "subtree", workflowId: child })).toMatchObject({
        status: 4,
        finalOffset: 6,
      });
      expect(await store.readTails([stream, newId()])).toEqual(
        new Map([[stream, { tailOffset: 7, floorOffset: 0 }]]),
      );
    });

    test("knows the shape of a tree", async () => {
      const { stream, root, child, grandchild } = await aTree();
      expect(await getStore().readParents(stream)).toEqual(
        new Map([
          [child, root],
          [grandchild, child],
        ]),
      );
    });

    test("what does not exist is undefined, not an error", async () => {
      const tree: ScopeKey = { kind: "tree", workflowId: newId() };
      expect(await getStore().readScope(newId(), tree)).toBeUndefined();
      expect(await page(newId(), tree)).toBeUndefined();
      const { results } = await append(entries(newId(), [anEvent({ workflowId: newId() })]));
      expect((results[0] as EntriesResult).refusals[0]?.why).toBe("workflow_unknown");
    });
  });
}
