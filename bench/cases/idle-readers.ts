/** What a reader costs that waits: memory of the server after garbage collection, before and after they came. */
import { missingTarget, openTarget, type TargetName } from "../targets.ts";
import { bySize, type Case, type Contender } from "./case.ts";

/** Come and go before the measuring, so that what is loaded and compiled once is not counted. */
const warmUpReaders = 100;

const grpc = ["tributary", "stock connect-node", "raw http2"] as const;
/** To those that are no Tributary a tree is nothing. */
const http1 = ["tributary, SSE", "raw HTTP/1.1", "better-sse", "socket.io"] as const;

export const idleReaders: Case = {
  name: "idle readers",
  about:
    "memory of the server for each reader that waits (RSS and V8's heap with its buffers, after garbage collection)",
  columns: ["rssKbPerReader", "heapKbPerReader", "openMsPerReader", "rssMb"],
  oneRoundIsEnough: true,
  contests(size) {
    const points = bySize<readonly (readonly [readers: number, trees: number])[]>(size, {
      full: [
        [1000, 1],
        [5000, 1],
        [1000, 1000],
      ],
      quick: [
        [1000, 1],
        [1000, 1000],
      ],
      smoke: [[50, 1]],
    });
    return points.map(([readers, trees]) => ({
      point: `${readers} readers, ${trees === 1 ? "one tree" : `${trees} trees`}`,
      contenders: (trees === 1 ? [...grpc, ...http1] : grpc).map((name) => contender(name, readers, trees)),
    }));
  },
};

function contender(name: TargetName, readers: number, trees: number): Contender {
  return {
    name,
    missing: missingTarget(name),
    async run(bench) {
      const target = await openTarget(bench, name);
      const reader = await bench.spawn("reader", { ...target.address, feed: target.feed });
      const workflows = await target.workflows(trees);
      await reader.call("subscribe", workflows, warmUpReaders);
      await reader.call("leave");
      const before = await target.server.own("settledMemory");
      const began = performance.now();
      await reader.call("subscribe", workflows, readers);
      const openMs = performance.now() - began;
      const after = await target.server.own("settledMemory");
      const kbEach = (bytes: number) => bytes / 1024 / readers;
      return {
        rssKbPerReader: kbEach(after.rss - before.rss),
        heapKbPerReader: kbEach(after.heap + after.external - before.heap - before.external),
        openMsPerReader: openMs / readers,
        rssMb: after.rss / 2 ** 20,
      };
    },
  };
}
