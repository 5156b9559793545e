/**
 * At most one server owns a data folder: the one whose session holds an advisory lock in the cluster's
 * database `postgres`. The lock goes with the session, so a killed owner needs no cleaning up; it is held on a
 * connection of its own, so nothing that happens to the pool frees it.
 *
 * When the connection ends while Postgres lives (an administrator ended it, a crashed session made Postgres
 * restart its children), the lock is taken again. When Postgres is gone, or another server was faster,
 * `lost` resolves.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "pg";
import { errorCode, errorText } from "./errors.ts";

/** Any constant; "tributar" in ASCII. */
const lockKey = "8390880602275602802";
/** How long a killed owner's session may take to notice that its socket is closed. */
const killedOwnerGraceMs = 2000;
const regainTimeoutMs = 10_000;
const pollIntervalMs = 50;

export interface OwnershipDeps {
  /** A new session in the database `postgres`. */
  readonly connect: () => Promise<Client>;
  /** Does the Postgres process that we own still run? */
  readonly isRunning: () => Promise<boolean>;
  readonly log: (line: string) => void;
}

export interface Ownership {
  /** The session that holds the lock, for statements before anybody else may use the cluster. */
  readonly client: Client;
  /** Was the lock lost to another server? Then Postgres is no longer ours to stop. */
  isAnothers(): boolean;
  /** Resolves once, if the ownership ends without `release`; never rejects. */
  readonly lost: Promise<Error>;
  /** From here on the end of the session is expected. */
  expectEnd(): void;
  release(): Promise<void>;
}

export type Claim =
  | { readonly outcome: "owned"; readonly ownership: Ownership }
  | { readonly outcome: "held"; readonly owner: string };

/** The name by which the owner's session shows in pg_stat_activity. */
export function ownerName(pid: number): string {
  return `tributary owner, process ${pid}`;
}

/** Rejects if the session fails, e.g. because Postgres is just stopping. */
export async function claimOwnership(deps: OwnershipDeps): Promise<Claim> {
  const client = await deps.connect();
  try {
    const deadline = performance.now() + killedOwnerGraceMs;
    while (!(await tryLock(client))) {
      if (performance.now() > deadline) {
        const owner = await findOwner(client);
        await client.end();
        return { outcome: "held", owner };
      }
      await delay(pollIntervalMs);
    }
    return { outcome: "owned", ownership: watchOwnership(client, deps) };
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }
}

function watchOwnership(first: Client, deps: OwnershipDeps): Ownership {
  let client = first;
  let state: "held" | "regaining" | "lost" | "ending" = "held";
  let anothers = false;
  const { promise: lost, resolve: resolveLost } = Promise.withResolvers<Error>();

  const lose = (reason: string) => {
    if (state === "ending") return;
    state = "lost";
    resolveLost(new Error(`The embedded Postgres is lost: ${reason}`));
  };
  const regain = async () => {
    state = "regaining";
    const deadline = performance.now() + regainTimeoutMs;
    let last = "its session ended";
    while (performance.now() < deadline) {
      if (state !== "regaining") return;
      if (!(await deps.isRunning())) return lose("its process has ended");
      const found = await reconnect(deps).catch((error: unknown) => {
        last = errorText(error);
      });
      if (found !== undefined) {
        if ("owner" in found) {
          anothers = true;
          return lose(`its data folder was taken over by another server (${found.owner})`);
        }
        // Asked again: release() may have come in between.
        if ((state as string) !== "regaining") return found.client.end();
        client = found.client;
        state = "held";
        deps.log("The session that owns the data folder had ended, and was opened again");
        return watch();
      }
      await delay(pollIntervalMs);
    }
    lose(`it answers no more (${last})`);
  };
  const watch = () => {
    client.once("end", () => {
      if (state !== "held") return;
      regain().catch((error: unknown) => lose(errorText(error)));
    });
  };
  watch();

  return {
    get client() {
      return client;
    },
    isAnothers: () => anothers,
    lost,
    expectEnd: () => {
      if (state !== "lost") state = "ending";
    },
    release: async () => {
      if (state !== "lost") state = "ending";
      await client.end().catch(() => undefined);
    },
  };
}

async function reconnect(deps: OwnershipDeps): Promise<{ client: Client } | { owner: string }> {
  const client = await deps.connect();
  try {
    if (await tryLock(client)) return { client };
    const owner = await findOwner(client);
    await client.end();
    // Our own former session, which has not noticed yet: try again.
    if (owner === ownerName(process.pid)) throw new Error("our former session still holds the lock");
    return { owner };
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }
}

async function tryLock(client: Client): Promise<boolean> {
  const { rows } = await client.query<{ locked: boolean }>(
    "select pg_try_advisory_lock($1::bigint) as locked",
    [lockKey],
  );
  return rows[0]?.locked === true;
}

async function findOwner(client: Client): Promise<string> {
  const { rows } = await client.query<{ name: string }>(
    `select a.application_name as name
     from pg_locks l join pg_stat_activity a using (pid)
     where l.locktype = 'advisory' and l.granted and l.objsubid = 1
       and l.database = (select oid from pg_database where datname = current_database())
       and (l.classid::bigint << 32 | l.objid::bigint) = $1::bigint`,
    [lockKey],
  );
  return rows[0]?.name ?? "a process that has just ended";
}

/** Is this an answer of a Postgres that refuses our password (SQLSTATE class 28)? */
export function isRefusedLogin(error: unknown): boolean {
  return errorCode(error).startsWith("28");
}
