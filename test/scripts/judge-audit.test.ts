/** What CI makes of the answers of `npm audit`, in the forms in which they come. */
import { expect, test } from "vitest";
import { judgeAudit } from "../../scripts/judge-audit.ts";

const judge = (status: number | null, answer: unknown) =>
  judgeAudit({ status, stdout: typeof answer === "string" ? answer : JSON.stringify(answer, null, 2) });

const reportOf = (vulnerabilities: object, counts: object = {}) => ({
  auditReportVersion: 2,
  vulnerabilities,
  metadata: {
    vulnerabilities: { info: 0, low: 0, moderate: 0, high: 0, critical: 0, total: 0, ...counts },
    dependencies: { prod: 120, dev: 0, optional: 12, peer: 0, peerOptional: 0, total: 131 },
  },
});
const weakness = (severity: string, change: object = {}) => ({
  name: "thing",
  severity,
  isDirect: true,
  via: [
    {
      source: 1100001,
      name: "thing",
      dependency: "thing",
      title: "Denial of service in thing",
      url: "https://example.com/advisories/1",
      severity,
      cwe: ["CWE-400"],
      cvss: { score: 7.5, vectorString: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H" },
      range: "<1.2.3",
    },
  ],
  effects: [],
  range: "<1.2.3",
  nodes: ["node_modules/thing"],
  fixAvailable: true,
  ...change,
});

test("without weaknesses, or with lesser ones, it is clean", () => {
  expect(judge(0, reportOf({})).kind).toBe("clean");
  const lesser = { a: weakness("moderate"), b: weakness("low"), c: weakness("info") };
  expect(judge(0, reportOf(lesser, { moderate: 1, low: 1, info: 1, total: 3 })).kind).toBe("clean");
});

test("a weakness of severity high or critical is a finding that names package, versions, reason and remedy", () => {
  for (const severity of ["high", "critical"]) {
    const verdict = judge(1, reportOf({ thing: weakness(severity), other: weakness("low") }));
    expect(verdict).toEqual({
      kind: "findings",
      text: `${severity}: thing <1.2.3: Denial of service in thing https://example.com/advisories/1 (a fix is available)`,
    });
  }
  const deep = {
    deep: weakness("high", { fixAvailable: false }),
    top: weakness("high", {
      via: ["deep"],
      fixAvailable: { name: "top", version: "9.0.0", isSemVerMajor: true },
    }),
  };
  expect(judge(1, reportOf(deep)).text.split("\n")).toEqual([
    expect.stringContaining("(no fix yet)"),
    "high: top <1.2.3: through deep (fixed by top 9.0.0)",
  ]);
});

test("findings count whatever the exit code says", () => {
  expect(judge(0, reportOf({ thing: weakness("critical") })).kind).toBe("findings");
});

test("a registry without audits, one that is broken, and no network are named and no failure", () => {
  const refused = (statusCode: number, text: string) => ({
    message: `${statusCode} ${text} - POST https://registry.example.com/-/npm/v1/security/audits/quick`,
    method: "POST",
    uri: "https://registry.example.com/-/npm/v1/security/audits/quick",
    headers: { allow: ["GET,HEAD"], "content-length": ["0"] },
    statusCode,
    body: "",
    error: { summary: "", detail: "" },
  });
  for (const [code, text] of [
    [404, "Not Found"],
    [405, "Method Not Allowed"],
    [429, "Too Many Requests"],
    [503, "Service Unavailable"],
  ] as const) {
    expect(judge(1, refused(code, text))).toEqual({
      kind: "unavailable",
      text: `the registry does not answer audits (${code})`,
    });
  }
  for (const reason of [
    "getaddrinfo ENOTFOUND registry.example.com",
    "getaddrinfo EAI_AGAIN registry.example.com",
    "connect ECONNREFUSED 127.0.0.1:4873",
  ]) {
    const message = `request to https://registry.example.com/-/npm/v1/security/advisories/bulk failed, reason: ${reason}`;
    expect(judge(1, { message, error: { summary: "", detail: "" } })).toEqual({
      kind: "unavailable",
      text: "the registry cannot be reached",
    });
  }
  expect(judge(null, "").kind).toBe("unavailable");
});

test("what is not understood fails", () => {
  expect(judge(0, "").kind).toBe("broken");
  expect(judge(0, "all is well").kind).toBe("broken");
  expect(judge(0, { auditReportVersion: 3, vulnerabilities: {} }).kind).toBe("broken");
  const noLock = {
    error: { code: "ENOLOCK", summary: "This command requires an existing lockfile.", detail: "" },
  };
  expect(judge(1, noLock)).toMatchObject({ kind: "broken", text: expect.stringContaining("lockfile") });
  const forbidden = { message: "401 Unauthorized - POST https://registry.example.com", statusCode: 401 };
  expect(judge(1, forbidden)).toMatchObject({ kind: "broken", text: expect.stringContaining("401") });
});
