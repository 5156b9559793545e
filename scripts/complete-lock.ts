/**
 * Adds to package-lock.json the platform packages (of other systems and processors) that npm left out because the registry
 * in use does not offer them: `npm ci` refuses a lock without them, on every machine. They are optional and bound to their
 * platform, so a machine of another kind never asks for them. Run it after `npm install`, where `npm ci` complains.
 */
import { readFileSync, writeFileSync } from "node:fs";

interface Entry {
  readonly version?: string;
  readonly dev?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}
interface Added extends Entry {
  os?: string[];
  cpu?: string[];
  libc?: string[];
  optional?: boolean;
}
type Lock = { packages: Record<string, Added> };

const systems = [
  "aix",
  "android",
  "darwin",
  "freebsd",
  "linux",
  "netbsd",
  "openbsd",
  "openharmony",
  "sunos",
  "win32",
];
const processors = ["arm64", "arm", "ia32", "loong64", "mips64el", "ppc64", "riscv64", "s390x", "x64"];
/** Names that differ from Node's. */
const aliases: Readonly<Record<string, string>> = { windows: "win32", armv7: "arm" };

const lock = JSON.parse(readFileSync("package-lock.json", "utf8")) as Lock;
const added: string[] = [];
for (const [path, { optionalDependencies, dev }] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(optionalDependencies ?? {})) {
    if (isThere(path, name) || !/^\d+\.\d+\.\d+/.test(version)) continue;
    const words = (name.split("/").at(-1) ?? "").split(/[-_]/).map((word) => aliases[word] ?? word);
    const os = systems.filter((system) => words.includes(system));
    const cpu = processors.filter((processor) => words.some((word) => word === processor));
    if (os.length === 0) throw new Error(`${name}: its name does not tell its system`);
    const folder = path.slice(0, path.lastIndexOf("node_modules/"));
    lock.packages[`${folder}node_modules/${name}`] = {
      version,
      ...(cpu.length > 0 ? { cpu } : {}),
      ...(dev === true ? { dev } : {}),
      ...(words.some((word) => word.startsWith("musl")) ? { libc: ["musl"] } : {}),
      optional: true,
      os,
    };
    added.push(`${name}@${version}`);
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).toSorted(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync("package-lock.json", `${JSON.stringify(lock, null, 2)}\n`);
console.log(added.length === 0 ? "nothing is missing" : `added ${added.length}:\n${added.join("\n")}`);

/** As Node resolves: beside the package, or in a folder above. */
function isThere(path: string, name: string): boolean {
  for (let at = `${path}/`; ; at = at.slice(0, at.lastIndexOf("node_modules/"))) {
    if (lock.packages[`${at}node_modules/${name}`] !== undefined) return true;
    if (!at.includes("node_modules/")) return false;
  }
}
