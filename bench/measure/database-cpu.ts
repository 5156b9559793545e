/** CPU of Postgres with all its backends, from /proc: only on Linux, else undefined. Exact to the kernel's tick of 10 ms. */
import { readdir, readFile } from "node:fs/promises";

const tickUs = 10_000;

/** User and system time of the postmaster, its children that live and those that have ended, µs. */
export async function databaseCpuUs(postmaster: number | undefined): Promise<number | undefined> {
  if (postmaster === undefined) return undefined;
  let ticks = 0;
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const fields = await statOf(entry);
    // From the state on: 1 parent, 11 and 12 user and system time, 13 and 14 those of ended children.
    if (fields === undefined) continue;
    const isPostmaster = entry === String(postmaster);
    if (!isPostmaster && fields[1] !== String(postmaster)) continue;
    ticks += Number(fields[11]) + Number(fields[12]);
    if (isPostmaster) ticks += Number(fields[13]) + Number(fields[14]);
  }
  return ticks * tickUs;
}

/** User and system time of one process, µs; undefined if it is gone or this system does not tell. */
export async function processCpuUs(pid: number): Promise<number | undefined> {
  const fields = await statOf(String(pid));
  return fields === undefined ? undefined : (Number(fields[11]) + Number(fields[12])) * tickUs;
}

/** The parent of a backend, if this system tells. */
export async function postmasterOf(backend: number): Promise<number | undefined> {
  const parent = (await statOf(String(backend)))?.[1];
  return parent === undefined ? undefined : Number(parent);
}

async function statOf(pid: string): Promise<string[] | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, "utf8");
    // The name before it, in brackets, may hold spaces.
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined; // ended meanwhile, or no /proc
  }
}
