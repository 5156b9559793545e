/**
 * Programs that a machine may lack. `npm run setup:tests` installs them; without one, the tests that need it are skipped
 * by name, and in CI a skip is a failure (`no-skips-reporter.ts`).
 */
import { execFile } from "node:child_process";
import { access, constants } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";

export interface Tool {
  /** Where it is; undefined: not here. */
  readonly path: string | undefined;
  /** Why what needs it cannot run; undefined: it can. */
  readonly missing: string | undefined;
}

const run = promisify(execFile);

/** Chromium or Chrome. Not asked for its version: that takes longer than many a test. */
export async function findChromium(): Promise<Tool> {
  const names = ["chromium", "chromium-browser", "google-chrome"];
  const mac = [
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  ];
  for (const path of [...names.flatMap(inPath), ...mac]) if (await isExecutable(path)) return found(path);
  return missing("no Chromium");
}

/** A Python that has grpcio and protobuf. Debian's packages serve Debian's Python, which another one in PATH may hide. */
export async function findPythonWithGrpc(): Promise<Tool> {
  for (const path of [...inPath("python3"), "/usr/bin/python3"]) {
    if (!(await isExecutable(path))) continue;
    const works = await run(path, ["-c", "import grpc, google.protobuf.json_format"], {
      timeout: 30_000,
    }).then(
      () => true,
      () => false,
    );
    if (works) return found(path);
  }
  return missing("no Python with grpcio");
}

export async function findCurl(): Promise<Tool> {
  for (const path of inPath("curl")) if (await isExecutable(path)) return found(path);
  return missing("no curl");
}

/** Debian puts servers where the PATH of users does not look. */
export async function findNatsServer(): Promise<Tool> {
  for (const path of [...inPath("nats-server"), "/usr/sbin/nats-server", "/usr/local/sbin/nats-server"])
    if (await isExecutable(path)) return found(path);
  return missing("no nats-server");
}

const found = (path: string): Tool => ({ path, missing: undefined });
const missing = (what: string): Tool => ({ path: undefined, missing: `${what} here: npm run setup:tests` });

const inPath = (name: string): string[] =>
  (process.env["PATH"] ?? "")
    .split(delimiter)
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, name));

const isExecutable = (path: string): Promise<boolean> =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
