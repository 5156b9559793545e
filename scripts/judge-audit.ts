/**
 * What an answer of `npm audit --json` means. Known weaknesses from `high` on fail the check. A registry that does not offer the
 * audit, and a machine without a network, are no finding: that is said by name, and the check goes on. Everything else that
 * is not understood fails, so that the check does not fall asleep.
 */
import * as z from "zod";

export interface AuditRun {
  /** null: it did not end in time. */
  readonly status: number | null;
  readonly stdout: string;
}

export type Verdict =
  | { readonly kind: "clean"; readonly text: string }
  | { readonly kind: "findings"; readonly text: string }
  | { readonly kind: "unavailable"; readonly text: string }
  | { readonly kind: "broken"; readonly text: string };

const report = z.object({
  auditReportVersion: z.literal(2),
  vulnerabilities: z.record(
    z.string(),
    z.object({
      severity: z.string(),
      range: z.string(),
      /** Texts name the package that brings the weakness. */
      via: z.array(z.union([z.string(), z.object({ title: z.string(), url: z.string() })])),
      fixAvailable: z.union([z.boolean(), z.object({ name: z.string(), version: z.string() })]),
    }),
  ),
});

const failure = z.object({
  message: z.string().optional(),
  statusCode: z.number().optional(),
  error: z.object({ code: z.string().nullish(), summary: z.string().nullish() }).optional(),
});

const serious: readonly string[] = ["high", "critical"];
/** The registry has no audit, is too busy, or broken. */
const unavailableStatuses = new Set([404, 405, 429, 500, 501, 502, 503, 504]);
const noNetwork =
  /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ERR_SOCKET_TIMEOUT|ENOTCACHED)\b|network timeout/;

export function judgeAudit({ status, stdout }: AuditRun): Verdict {
  if (status === null) return { kind: "unavailable", text: "the registry did not answer in time" };
  const answer = parse(stdout);
  const found = report.safeParse(answer);
  if (found.success) {
    const findings = Object.entries(found.data.vulnerabilities).filter(([, { severity }]) =>
      serious.includes(severity),
    );
    if (findings.length === 0) {
      return { kind: "clean", text: "no known weakness of severity high or critical in what is shipped" };
    }
    return { kind: "findings", text: findings.map(describe).join("\n") };
  }
  const failed = failure.safeParse(answer);
  if (!failed.success)
    return { kind: "broken", text: `npm audit said what is not understood: ${clip(stdout)}` };
  const { message, statusCode, error } = failed.data;
  const why = message ?? error?.summary ?? error?.code ?? "";
  if (statusCode !== undefined && unavailableStatuses.has(statusCode)) {
    return { kind: "unavailable", text: `the registry does not answer audits (${statusCode})` };
  }
  if (noNetwork.test(`${why} ${error?.code ?? ""}`)) {
    return { kind: "unavailable", text: "the registry cannot be reached" };
  }
  return { kind: "broken", text: `npm audit failed: ${clip(why || stdout)}` };
}

function describe([name, { severity, range, via, fixAvailable }]: [
  string,
  z.output<typeof report>["vulnerabilities"][string],
]): string {
  const reasons = via.map((each) =>
    typeof each === "string" ? `through ${each}` : `${each.title} ${each.url}`,
  );
  const fix =
    typeof fixAvailable === "object"
      ? `fixed by ${fixAvailable.name} ${fixAvailable.version}`
      : fixAvailable
        ? "a fix is available"
        : "no fix yet";
  return `${severity}: ${name} ${range}: ${reasons.join("; ")} (${fix})`;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // judged as what is not understood
  }
}

const clip = (text: string) => JSON.stringify(text.slice(0, 300));
