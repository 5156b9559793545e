/** Watches in bad company: random writers, broken connections, every place to resume, checked against the history. */
import { describe, expect, test } from "vitest";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { type VariableUpdate, VariableUpdateType } from "../../gen/tributary/v1/variable_service_pb.ts";
import { newWorkflow, publish, readAll, repeat, token } from "../api/trees.ts";
import { Random, seeds } from "../support/random.ts";
import { type Clients, createClients, useServer } from "../support/server.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { assign, plain, setVariable, shown, Watching } from "../support/variable-call.ts";

const server = useServer();
const close = (workflowId: string) =>
  server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });

/** Random sets, sets of many, deletions and events, until `count` writes were made. */
async function write(clients: Clients, workflowId: string, random: Random, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const name = `v${random.below(5)}`;
    const kind = random.below(10);
    if (kind < 5) await setVariable(clients, workflowId, name, random.below(1000));
    else if (kind < 7)
      await clients.variables.setVariables({
        workflowId,
        assignments: repeat(1 + random.below(5), (j) => assign(`v${j}`, i)),
      });
    else if (kind < 9) await clients.variables.deleteVariable({ workflowId, name }).catch(() => {});
    else await publish(clients, [token(workflowId, "x")]);
  }
}

async function history(workflowId: string): Promise<VariableUpdate[]> {
  await using watch = new Watching(server.acme, {
    workflowId,
    options: { start: { case: "afterOffset", value: 0n } },
  });
  await watch.until(() => expect(watch.cases).toContain("ended"));
  return watch.updates;
}

/** What is true after this offset, by the history. */
function stateAt(updates: readonly VariableUpdate[], offset: bigint): Record<string, string> {
  const state = new Map<string, string>();
  for (const update of updates) {
    if (update.offset > offset) break;
    const { name = "", value, version } = update.variable ?? {};
    if (update.updateType === VariableUpdateType.DELETED) state.delete(name);
    else state.set(name, `${JSON.stringify(plain(value))} v${version}`);
  }
  return Object.fromEntries([...state].toSorted());
}

describe.each(seeds(3))("seed %i", (seed) => {
  test("snapshots and resumptions at any moment fit the history, with names, conflation and intervals", async () => {
    const random = new Random(seed);
    const workflowId = await newWorkflow(server.acme);
    const writing = Promise.all(repeat(3, () => write(server.acme, workflowId, random, 60)));
    const watches: { watch: Watching; names: string[]; isConflated: boolean }[] = [];
    for (let i = 0; i < 12; i++) {
      const names = random.chance(0.5) ? [] : repeat(1 + random.below(3), () => `v${random.below(5)}`);
      const isConflated = random.chance(0.5);
      const watch = new Watching(server.acme, {
        workflowId,
        names,
        allowMissing: true,
        includeInitialValues: true,
        options: {
          minIntervalMs: random.pick([0, 20, 100]),
          conflateTypes: isConflated ? [EventType.VARIABLE_SET, EventType.VARIABLE_DELETED] : [],
        },
      });
      watches.push({ watch, names, isConflated });
      await new Promise((resolve) => setTimeout(resolve, random.below(60)));
    }
    await writing;
    await close(workflowId);
    const all = await history(workflowId);
    expect(all.map(({ offset }) => offset)).toEqual(
      (await readAll(server.acme, workflowId)).filter(({ type }) => type >= 30).map(({ offset }) => offset),
    );
    for (const { watch, names, isConflated } of watches) {
      await watch.until(() => expect(watch.cases).toContain("ended"));
      const isWatched = ({ variable }: VariableUpdate) =>
        names.length === 0 || names.includes(variable?.name ?? "");
      const mine = all.filter(isWatched);
      const start = watch.message("snapshotComplete")?.offset ?? 0n;
      const initial = watch.updates.filter(
        ({ updateType }) => updateType === VariableUpdateType.INITIAL_VALUE,
      );
      const changes = watch.updates.slice(initial.length);
      const state = initial.map(({ variable }) => [
        variable?.name ?? "",
        `${JSON.stringify(plain(variable?.value))} v${variable?.version}`,
      ]);
      expect(Object.fromEntries(state.toSorted())).toEqual(stateAt(mine, start));
      const later = mine.filter(({ offset }) => offset > start);
      expect(changes.reduce((sum, { replaced }) => sum + 1 + replaced, 0)).toBe(later.length);
      if (!isConflated) expect(changes).toEqual(later);
      else for (const change of changes) expect(later).toContainEqual({ ...change, replaced: 0 });
      await watch[Symbol.asyncDispose]();
    }
  });

  test("over a line that breaks, resumed after the last offset or snapshot, the state is right in the end", async () => {
    const random = new Random(seed);
    const workflowId = await newWorkflow(server.acme);
    const { hostname, port } = new URL(server.url);
    const proxy = await startTcpProxy(hostname, Number(port));
    const writing = write(server.acme, workflowId, random, 150).then(() => close(workflowId));
    const seen: VariableUpdate[] = [];
    let position: bigint | undefined;
    let isOver = false;
    try {
      while (!isOver) {
        proxy.restore();
        const clients = createClients(`http://127.0.0.1:${proxy.port}`, server.acme.key);
        const watch = new Watching(clients, {
          workflowId,
          includeInitialValues: true,
          ...(position === undefined
            ? {}
            : { options: { start: { case: "afterOffset", value: position } as const } }),
        });
        await Promise.race([
          watch.finished.catch(() => {}),
          new Promise((resolve) => setTimeout(resolve, 20 + random.below(150))),
        ]);
        if (!watch.cases.includes("ended")) proxy.cut();
        await watch.finished.catch(() => {});
        isOver = watch.cases.includes("ended");
        if (position === undefined) {
          const complete = watch.message("snapshotComplete");
          if (complete === undefined) continue;
          position = complete.offset;
        }
        seen.push(...watch.updates);
        const last = watch.updates.at(-1)?.offset ?? 0n;
        if (last > position) position = last;
        await watch[Symbol.asyncDispose]();
      }
    } finally {
      await proxy.close();
    }
    await writing;
    const all = await history(workflowId);
    const initial = seen.filter(({ updateType }) => updateType === VariableUpdateType.INITIAL_VALUE);
    const changes = seen.slice(initial.length);
    const start = (changes[0]?.offset ?? position ?? 0n) - 1n;
    expect(changes.map(shown)).toEqual(all.filter(({ offset }) => offset > start).map(shown));
  });
});
