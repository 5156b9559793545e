/** Every view, light and dark, wide and narrow: no serious finding of axe; what matters can be reached with the keyboard. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import { describeWith } from "../support/describe-with.ts";
import { someOf } from "../support/random.ts";
import { useServer } from "../support/server.ts";
import { chromiumTool, signIn, useBrowser } from "./browser.ts";
import { buildConsole } from "./built-console.ts";
import { finish, say, startTree, write } from "./writing.ts";

const consoleFolder = chromiumTool.path === undefined ? "" : await buildConsole();
const server = useServer({}, undefined, { consoleFolder });
const browser = useBrowser();
const axe = await readFile(fileURLToPath(import.meta.resolve("axe-core/axe.min.js")), "utf8");

interface Finding {
  readonly id: string;
  readonly impact: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[];
}

/** Serious and critical findings, as text. */
async function findingsOf(page: Page): Promise<string[]> {
  // Through the debugger, which the page's policy does not bind.
  await page.evaluate(axe);
  const { violations } = (await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")) as {
    violations: readonly Finding[];
  };
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(
      ({ id, nodes }) =>
        `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join(" | ")}`,
    );
}

describeWith(chromiumTool, "the console", () => {
  test.each(
    someOf(
      [
        ["light", 1280],
        ["dark", 1280],
        ["light", 390],
        ["dark", 390],
      ] as const,
      2,
    ),
  )("has no serious accessibility finding in any view: %s, %i pixels wide", async (colorScheme, width) => {
    const rootId = await startTree(server.acme, "to be looked at");
    await say(server.acme, rootId, "some ", "words ");
    await write(server.acme, rootId, EventType.TOOL_CALL, { id: "1", name: "look", arguments: {} });
    await write(server.acme, rootId, EventType.ERROR, { message: "nothing serious" });
    await server.acme.workflows.requestCancel({ workflowId: rootId, reason: "to see it" });
    await server.acme.variables.setVariable({
      workflowId: rootId,
      assignment: { name: "level", value: { kind: { case: "numberValue", value: 1 } } },
    });
    // Nothing moves: a colour in the middle of its way to another one is no finding.
    const options = { colorScheme, reducedMotion: "reduce", viewport: { width, height: 844 } } as const;
    const visitor = await browser.visit(server.url, options);
    const { page } = visitor;
    expect(await findingsOf(page)).toEqual([]);
    await signIn(visitor, server.acme.key);
    const ready: Readonly<Record<string, () => Promise<unknown>>> = {
      "#/": () =>
        page
          .getByRole("link", { name: /to be looked at/ })
          .first()
          .waitFor(),
      "#/wall": () => page.locator(".wall-card").first().waitFor(),
      [`#/workflows/${rootId}`]: () => page.locator(".event").first().waitFor(),
      [`#/workflows/${rootId}/output`]: () => page.getByText("nothing serious").first().waitFor(),
      [`#/workflows/${rootId}/variables`]: () => page.locator(".variables .value").waitFor(),
      "#/memory": () => page.getByText("Nothing was observed yet").waitFor(),
      "#/operations": () => page.getByText("Lanes and pressure").waitFor(),
    };
    for (const [hash, wait] of Object.entries(ready)) {
      await page.goto(`${server.url}/${hash}`);
      await wait();
      expect([hash, await findingsOf(page)]).toEqual([hash, []]);
      const tooWide = await page.evaluate("document.documentElement.scrollWidth > innerWidth");
      expect([hash, tooWide]).toEqual([hash, false]);
    }
    await page.goto(`${server.url}/#/workflows/${rootId}`);
    await page.getByRole("button", { name: "Copy as…" }).click();
    await page.getByRole("tab", { name: "grpcurl" }).click();
    expect(await findingsOf(page)).toEqual([]);
    await finish(server.acme, rootId);
    await visitor.leave();
  });

  test("is used with the keyboard alone: sign in, open a tree, stop it, choose a tab, close a dialog", async () => {
    const rootId = await startTree(server.acme, "by keyboard");
    await say(server.acme, rootId, "one ", "two ");
    const visitor = await browser.visit(`${server.url}/#/workflows/${rootId}`);
    const { page } = visitor;
    await page.getByLabel("API key or stream token").focus();
    await page.keyboard.type(server.acme.key);
    await page.keyboard.press("Enter");
    await page.locator(".event").first().waitFor();
    await page.getByRole("slider").focus();
    await page.keyboard.press("ArrowLeft");
    await page.getByRole("button", { name: "Go live" }).waitFor();
    await page.getByRole("tab", { name: "Timeline" }).focus();
    await page.keyboard.press("ArrowRight");
    await page.getByRole("region", { name: "Output of by keyboard" }).waitFor();
    expect(await page.evaluate("document.activeElement.textContent")).toBe("Output");
    await page.getByRole("button", { name: "Share", exact: true }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Escape");
    expect(await page.evaluate("document.activeElement.textContent")).toBe("Share");
    await finish(server.acme, rootId);
    await visitor.leave();
  });
});
