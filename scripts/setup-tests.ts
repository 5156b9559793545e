/**
 * `npm run setup:tests`: installs the programs that the tests use and the machine lacks, then shows what is
 * there. As root on Debian or one of its kin it installs; elsewhere it says how to get them, and the tests
 * that need a missing one are skipped by name. Installs nothing, and asks no server, when nothing is missing.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { access } from "node:fs/promises";
import { promisify } from "node:util";

interface Tool {
  readonly name: string;
  /** Of Debian. */
  readonly package: string;
  readonly use: string;
  readonly elsewhere: string;
  /** Prints a line with the version; the first of these that runs counts. */
  readonly probes: readonly (readonly [file: string, ...args: string[]])[];
}

const tools: readonly Tool[] = [
  {
    name: "nats-server",
    package: "nats-server",
    use: "the bus between instances",
    elsewhere:
      "https://docs.nats.io/running-a-nats-service/introduction/installation (macOS: brew install nats-server)",
    // Debian puts it into /usr/sbin, which an ordinary user's PATH may lack.
    probes: [
      ["nats-server", "--version"],
      ["/usr/sbin/nats-server", "--version"],
    ],
  },
  {
    name: "chromium",
    package: "chromium",
    use: "the console and the browser client",
    elsewhere: "https://www.chromium.org/getting-involved/download-chromium (macOS: brew install chromium)",
    probes: [
      ["chromium", "--version"],
      ["chromium-browser", "--version"],
      ["google-chrome", "--version"],
    ],
  },
  {
    name: "curl",
    package: "curl",
    use: "the README's commands",
    elsewhere: "https://curl.se/download.html",
    probes: [["curl", "--version"]],
  },
  {
    name: "python3-grpcio",
    package: "python3-grpcio",
    use: "a gRPC client that is not ours",
    elsewhere: "python3 -m pip install grpcio",
    // Debian's package serves Debian's Python, which another one (pyenv, Homebrew) may hide in PATH.
    probes: ["python3", "/usr/bin/python3"].map((file) => [
      file,
      "-c",
      "import grpc; print('grpcio', grpc.__version__)",
    ]),
  },
];

interface Found {
  readonly version: string;
  readonly command: string;
}

async function find(tool: Tool): Promise<Found | undefined> {
  for (const [file, ...args] of tool.probes) {
    const found = await promisify(execFile)(file, args, { timeout: 30_000 }).catch(() => undefined);
    const line = `${found?.stdout ?? ""}\n${found?.stderr ?? ""}`.split("\n").find((text) => /\d/.test(text));
    if (found !== undefined)
      return { version: /\d+(\.\d+)+/.exec(line ?? "")?.[0] ?? "found", command: file };
  }
  return undefined;
}

async function survey(): Promise<Map<Tool, Found | undefined>> {
  return new Map(await Promise.all(tools.map(async (tool) => [tool, await find(tool)] as const)));
}

/** Its output goes to ours, so that a long download is seen to move. */
async function run(file: string, ...args: string[]): Promise<void> {
  console.log(`\n$ ${[file, ...args].join(" ")}`);
  const child = spawn(file, args, { stdio: ["ignore", "inherit", "inherit"] });
  const [code, signal] = await once(child, "exit");
  if (code !== 0) throw new Error(`${file} ended with ${String(signal ?? code)}`);
}

async function install(packages: readonly string[]): Promise<void> {
  const apt = (...args: string[]) => run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", ...args);
  await apt("update");
  await apt("install", "--yes", "--no-install-recommends", ...packages);
}

function show(found: ReadonlyMap<Tool, Found | undefined>): void {
  const rows = [["tool", "version", "command", "used for"]];
  for (const [tool, there] of found) {
    rows.push([tool.name, there?.version ?? "missing", there?.command ?? "", tool.use]);
  }
  const width = (column: number) => Math.max(...rows.map((row) => row[column]?.length ?? 0));
  console.log();
  for (const row of rows)
    console.log(
      row
        .map((text, column) => text.padEnd(width(column)))
        .join("  ")
        .trimEnd(),
    );
}

const missingIn = (found: ReadonlyMap<Tool, Found | undefined>) => tools.filter((tool) => !found.get(tool));

let found = await survey();
if (missingIn(found).length > 0) {
  const packages = missingIn(found).map((tool) => tool.package);
  const isDebian = await access("/etc/debian_version").then(
    () => true,
    () => false,
  );
  if (isDebian && process.getuid?.() === 0) {
    console.log(
      `Missing: ${packages.join(", ")}. Installing (chromium is large: several minutes on a slow line).`,
    );
    try {
      await install(packages);
    } catch (error) {
      console.error(`\nNot installed: ${error instanceof Error ? error.message : String(error)}`);
      process.exitCode = 1;
    }
    found = await survey();
  } else if (isDebian) {
    console.log(`Missing. Install with: sudo apt-get install --no-install-recommends ${packages.join(" ")}`);
  } else {
    for (const tool of missingIn(found)) console.log(`Missing: ${tool.name}. Get it from ${tool.elsewhere}`);
  }
}
show(found);
if (missingIn(found).length > 0) console.log("\nThe tests that need a missing tool are skipped by name.");
