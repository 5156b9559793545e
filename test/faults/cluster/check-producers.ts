/**
 * What was acknowledged is stored exactly once, with what was said; what was refused is not; nothing is there that nobody
 * sent, nothing twice; each producer's order is kept; and of a session that moved, only its newest connection wrote.
 */
import { EventType } from "../../../gen/tributary/v1/event_pb.ts";
import type { Forest } from "./forest.ts";
import { readSaying, type SessionActor } from "./session-actor.ts";
import type { SingleProducer } from "./single-producer.ts";
import type { StoredRow, Truth } from "./truth.ts";

interface Claimed {
  readonly tenant: string;
  readonly row: StoredRow;
  readonly n: number;
  readonly connection: number;
}

export function checkProducers(
  truth: Truth,
  sessions: readonly SessionActor[],
  singles: readonly SingleProducer[],
): string[] {
  const problems: string[] = [];
  const actors = new Map([...sessions, ...singles].map((actor) => [actor.name, actor]));
  const byName = new Map<string, Claimed[]>();
  for (const { tenant, rows } of truth.streams) {
    for (const row of rows) {
      if (row.type > EventType.CANCELLED && row.type !== EventType.OBSERVATION) continue;
      const said = readSaying(row.text);
      const actor = actors.get(said?.name ?? "");
      if (said === undefined || row.text !== actor?.says(said.n, said.connection)) {
        problems.push(`nobody sent what is stored at ${row.offset}: ${row.text.slice(0, 100)}`);
        continue;
      }
      const claimed = byName.get(said.name) ?? [];
      byName.set(said.name, claimed);
      claimed.push({ tenant, row, n: said.n, connection: said.connection });
    }
  }
  for (const actor of sessions) problems.push(...checkSession(truth, actor, byName.get(actor.name) ?? []));
  for (const single of singles) problems.push(...checkSingle(single, byName.get(single.name) ?? []));
  return problems;
}

/** A worker that attaches after somebody asked for a stop is told of it, wherever that was asked. */
export function checkCancellations(sessions: readonly SessionActor[], forest: Forest): string[] {
  const problems: string[] = [];
  for (const { name, kind, branch, connectedMs, finished, heardCancelled } of sessions) {
    if (kind === "observations" || !finished || branch.closedEarly) continue;
    for (const { id, cancelledMs, closedEarly } of forest.path(branch)) {
      if (!closedEarly && cancelledMs !== undefined && cancelledMs < connectedMs && !heardCancelled.has(id))
        problems.push(`${name}: attached after the cancellation of ${id}, and was not told of it`);
    }
  }
  return problems;
}

function checkSession(truth: Truth, actor: SessionActor, claimed: readonly Claimed[]): string[] {
  const { name, branch, writer, resumedAt, entries } = actor;
  const problems: string[] = [];
  const blame = (problem: string) => problems.push(`${name}: ${problem}`);
  let last = 0;
  const stored = new Set<number>();
  for (const { tenant, row, n, connection } of claimed) {
    if (tenant !== branch.tenant) blame(`${n} is stored with ${tenant}`);
    if (row.producerId !== writer.sessionId || row.sequence !== n)
      blame(`${n} is stored as ${row.sequence} of ${row.producerId}`);
    if (n <= last) blame(`${n} is stored at ${row.offset}, after ${last}`);
    last = n;
    stored.add(n);
    if (actor.isPoison(n)) blame(`${n} could never be stored, and is at ${row.offset}`);
    const from = resumedAt[connection - 1];
    const to = resumedAt[connection];
    if (from === undefined || n <= from || (to !== undefined && n > to))
      blame(
        `${n} was written by connection ${connection}, which had the session from ${from} to ${to}; the connections began at ${resumedAt}`,
      );
  }
  if (actor.finished && writer.durable !== entries) blame(`${writer.durable} of ${entries} are settled`);
  const rejected = writer.finallyRejected;
  const missing: number[] = [];
  for (let n = 1; n <= writer.durable; n++) {
    if (stored.has(n) === rejected.has(n) && stored.has(n)) blame(`${n} is stored, and was rejected`);
    if (stored.has(n) || actor.isPoison(n)) continue;
    missing.push(n);
    // Beyond what was stored of a workflow that somebody closed meanwhile.
    if (branch.closing === undefined || n < last) blame(`${n} was acknowledged, and is not stored`);
    else if (!rejected.has(n) && missing.length < 100 && rejected.size < 100)
      blame(`${n} is neither stored nor rejected`);
    if (problems.length > 20) return problems;
  }
  const settled = truth.sessions.get(writer.sessionId);
  if (settled?.lastSequence !== writer.durable && actor.finished)
    blame(`settled ${settled?.lastSequence} in the database, ${writer.durable} as it was told`);
  const lastOffset = claimed.at(-1)?.row.offset ?? 0;
  if (actor.finished && settled?.lastOffset !== lastOffset)
    blame(`its last offset is ${settled?.lastOffset} in the database; its last entry is at ${lastOffset}`);
  return problems;
}

function checkSingle(
  { name, branch, isNumbered, outcomes }: SingleProducer,
  claimed: readonly Claimed[],
): string[] {
  const problems: string[] = [];
  const blame = (problem: string) => problems.push(`${name}: ${problem}`);
  const offsets = new Map<number, number>();
  let last = 0;
  for (const { tenant, row, n } of claimed) {
    if (tenant !== branch.tenant || row.workflowId !== branch.id) blame(`${n} is stored elsewhere`);
    if (offsets.has(n)) blame(`${n} is stored at ${offsets.get(n)} and at ${row.offset}`);
    if (isNumbered && n < last) blame(`${n} is stored at ${row.offset}, after ${last}`);
    if (row.sequence !== n || row.producerId !== (isNumbered ? name : ""))
      blame(`${n} is stored as ${row.sequence} of ${row.producerId}`);
    last = n;
    offsets.set(n, row.offset);
  }
  for (const [i, outcome] of outcomes.entries()) {
    const offset = offsets.get(i + 1);
    if (outcome.kind === "durable" && offset === undefined) blame(`${i + 1} was durable, and is not stored`);
    if ((outcome.kind === "refused" || outcome.kind === "full") && offset !== undefined)
      blame(`${i + 1} was not taken, and is at ${offset}`);
    if (outcome.kind === "durable" && outcome.offset !== undefined && outcome.offset !== offset)
      blame(`${i + 1} was told to be at ${outcome.offset}, and is at ${offset}`);
  }
  return problems;
}
