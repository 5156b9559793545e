/** Are there known weaknesses in the packages that are shipped? Run by CI (.ci/run), not by `npm run check`: it needs the network. */
import { spawnSync } from "node:child_process";
import { judgeAudit } from "./judge-audit.ts";

const { status, stdout } = spawnSync(
  "npm",
  ["audit", "--omit=dev", "--audit-level=high", "--json", "--fetch-retries=1", "--fetch-timeout=30000"],
  { encoding: "utf8", timeout: 90_000, maxBuffer: 64 * 1024 * 1024, stdio: ["ignore", "pipe", "ignore"] },
);
const { kind, text } = judgeAudit({ status, stdout: stdout ?? "" });
switch (kind) {
  case "clean":
    console.log(`ok     dependencies: ${text}`);
    break;
  case "unavailable":
    console.log(`WARNING dependencies were not audited: ${text}`);
    break;
  default:
    console.log(`FAILED dependencies\n${text}`);
    process.exitCode = 1;
}
