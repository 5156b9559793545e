/**
 * How Node is to be started for a server. It cannot be asked for afterwards, so it stands where servers are started too: the first
 * line of main.ts, package.json, the Dockerfile (test/cli/node-flags.test.ts compares them).
 *
 * V8 lets the space of young objects grow to three times 16 MiB; to clear that takes 10 to 30 ms of the one thread, about once a
 * second at a thousand events a second, and what comes meanwhile waits. With 8 MiB it takes 1 to 3 ms, more often, and the process
 * needs 80 MB less (docs/decisions/0023-young-objects.md). Without the flag a server works, with a longer p99.
 */
export const nodeFlags: readonly string[] = ["--max-semi-space-size=8"];
