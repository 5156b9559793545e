/** The tables of docs/operations/access.md. Run by itself it writes them into the page. */
import { readFileSync, writeFileSync } from "node:fs";
import {
  type Access,
  accessTable,
  listsNothing,
  type Named,
  namedBy,
  unknownOutcome,
} from "../api/access-table.ts";
import { toSnakeUpper } from "../api/codes.ts";
import { everyRpc } from "../api/every-rpc.ts";

export const page = "docs/operations/access.md";
const begin = "<!-- Written by test/docs/access-page.ts -->";
const end = "<!-- To here -->";

const yes = (may: boolean) => (may ? "yes" : "");

function row(name: string, { role, token, admin }: Access, named: Named): string {
  const roles = (["READ", "PUBLISH", "MANAGE"] as const).map((each) => yes(each === role));
  const foreign = named === "nothing" ? "" : role === undefined ? "" : "PERMISSION_DENIED";
  const nobodys = role === undefined ? "" : unknownOutcome[named].tenant;
  const toAdmin =
    admin !== true || named === "nothing"
      ? ""
      : listsNothing.includes(name)
        ? "OK"
        : unknownOutcome[named].admin;
  const cells = [
    name,
    ...roles,
    yes(token === true),
    yes(admin === true),
    named === "nothing" ? "" : named,
    foreign,
    named === "nothing" ? "" : toSnakeUpper(nobodys),
    toSnakeUpper(toAdmin),
  ];
  return `| ${cells.join(" | ")} |`;
}

export async function accessPage(): Promise<string> {
  const rpcs = await everyRpc();
  const rows = rpcs.map(({ name, method }) => {
    const access = accessTable[name];
    if (access === undefined) throw new Error(`${name} has no row in test/api/access-table.ts`);
    return row(name, access, namedBy(method));
  });
  return [
    "| call | READ | PUBLISH | MANAGE | stream token | admin key | names a | of another tenant | unknown, to a tenant's key | unknown, to the admin key |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ...rows,
    row("GET /api/tenants/…/stream/workflows/… (3 routes)", { role: "READ", token: true }, "workflow"),
  ].join("\n");
}

/** The formatter aligns the columns. */
export const unaligned = (text: string): string => text.replaceAll(/ +/g, " ").replaceAll(/-{3,}/g, "---");

export function tablesIn(text: string): string {
  return text.slice(text.indexOf(begin) + begin.length, text.indexOf(end)).trim();
}

if (import.meta.main) {
  const text = readFileSync(page, "utf8");
  const tables = await accessPage();
  writeFileSync(
    page,
    text.replace(`${begin}\n\n${tablesIn(text)}`, () => `${begin}\n\n${tables}`),
  );
}
