/** What an open session costs that writes nothing: memory of the server after garbage collection, before and after they came. */
import { openTarget, type TargetName } from "../targets.ts";
import { bySize, type Case, type Contender } from "./case.ts";
import { count } from "./published.ts";

/** Come and go before the measuring, so that what is loaded and compiled once is not counted. */
const warmUpSessions = 100;

export const idleSessions: Case = {
  name: "idle sessions",
  about:
    "memory of the server for each session that is open and writes nothing, a workflow each (RSS and V8's heap with its buffers, after garbage collection); stock connect-node: a bidirectional stream each",
  columns: ["rssKbPerSession", "heapKbPerSession", "openMsPerSession", "rssMb"],
  oneRoundIsEnough: true,
  contests: (size) =>
    bySize(size, { full: [1000], quick: [1000], smoke: [50] }).map((sessions) => ({
      point: count(sessions, "session"),
      contenders: [contender("tributary", sessions), contender("stock connect-node", sessions)],
    })),
};

function contender(
  name: Extract<TargetName, "tributary" | "stock connect-node">,
  sessions: number,
): Contender {
  return {
    name,
    async run(bench) {
      const target = await openTarget(bench, name);
      const publisher = await bench.spawn("session publisher", target.address);
      const load = {
        kind: "task events",
        targets: await target.workflows(sessions),
        eventsPerBatch: 1,
        payloadBytes: 100,
      } as const;
      await publisher.call("begin", { ...load, sessions: Math.min(sessions, warmUpSessions) });
      await publisher.call("leave");
      const before = await target.server.own("settledMemory");
      const began = performance.now();
      await publisher.call("begin", { ...load, sessions });
      const openMs = performance.now() - began;
      const after = await target.server.own("settledMemory");
      const kbEach = (bytes: number) => bytes / 1024 / sessions;
      return {
        rssKbPerSession: kbEach(after.rss - before.rss),
        heapKbPerSession: kbEach(after.heap + after.external - before.heap - before.external),
        openMsPerSession: openMs / sessions,
        rssMb: after.rss / 2 ** 20,
      };
    },
  };
}
