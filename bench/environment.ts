/** On what it was measured: goes into every line of results and above the tables. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { versionsOfContenders } from "./needs.ts";

export interface Environment {
  readonly node: string;
  readonly postgres: string;
  readonly connect: string;
  /** Versions of what is compared with, by package. */
  readonly contenders: Readonly<Record<string, string>>;
  readonly git: string;
  readonly dirty: boolean;
  readonly cpu: string;
  readonly cpus: number;
  readonly platform: string;
}

const root = fileURLToPath(new URL("../", import.meta.url));

export function readEnvironment(postgres: string): Environment {
  const { dependencies } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  const processors = cpus();
  return {
    node: process.version,
    postgres,
    connect: dependencies["@connectrpc/connect-node"],
    contenders: versionsOfContenders(),
    git: git("rev-parse", "--short=12", "HEAD") ?? "unknown",
    dirty: git("status", "--porcelain") !== "",
    cpu: processors[0]?.model.trim() ?? "unknown",
    cpus: processors.length,
    platform: `${process.platform} ${process.arch}`,
  };
}

const toWords = (versions: Readonly<Record<string, string>>) =>
  Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(", ");

export const describe = ({
  node,
  postgres,
  connect,
  contenders,
  git,
  dirty,
  cpu,
  cpus,
  platform,
}: Environment) =>
  `Node ${node}, Postgres ${postgres} (fsync on), connect-node ${connect}, ${toWords(contenders)}, ${cpus} × ${cpu}, ${platform}, commit ${git}${dirty ? " with changes" : ""}`;

/** Undefined without git or outside a clone. */
function git(...args: string[]): string | undefined {
  try {
    return execFileSync("git", args, {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  } catch {
    return undefined;
  }
}
