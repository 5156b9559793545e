/** Ten trees at once over HTTP/1.1, where a browser has six connections to a host. */
import { expect, test } from "vitest";
import { describeWith } from "../support/describe-with.ts";
import { useServer } from "../support/server.ts";
import { chromiumTool, signIn, useBrowser } from "./browser.ts";
import { buildConsole } from "./built-console.ts";
import { finish, say, startTree } from "./writing.ts";

const consoleFolder = chromiumTool.path === undefined ? "" : await buildConsole();
const server = useServer({}, undefined, { consoleFolder });
const browser = useBrowser();

describeWith(chromiumTool, "the wall", () => {
  test("shows ten trees live at once on HTTP/1.1, through a restart of the server", async () => {
    const names = Array.from({ length: 10 }, (_, at) => `tree ${at}`);
    const ids = await Promise.all(names.map((name) => startTree(server.acme, name)));
    const visitor = await browser.visit(`${server.url}/#/wall`);
    const { page } = visitor;
    await signIn(visitor, server.acme.key);
    await expect.poll(() => page.locator(".wall-card").count()).toBe(10);
    const card = (name: string) => page.locator(".wall-card", { has: page.getByText(name, { exact: true }) });
    await Promise.all(ids.map((id, at) => say(server.acme, id, `begin${at}`)));
    const words = () => Promise.all(names.map((name) => card(name).locator(".words").textContent()));
    await expect.poll(words).toEqual(names.map((_, at) => `begin${at}`));
    await server.restart();
    await Promise.all(ids.map((id) => say(server.acme, id, " ")));
    await Promise.all(ids.map((id, at) => say(server.acme, id, `end${at}`)));
    await expect.poll(words, { timeout: 20_000 }).toEqual(names.map((_, at) => `begin${at} end${at}`));
    await Promise.all(ids.map((id) => finish(server.acme, id)));
    await visitor.leave(/net::ERR_/); // the browser itself reports the connections that were lost
  });

  test("a tab that is hidden for long gives its connections back, and goes on where it was", async () => {
    const rootId = await startTree(server.acme, "while nobody looks");
    const visitor = await browser.visit(server.url);
    const { page } = visitor;
    await page.clock.install();
    await page.goto(`${server.url}/#/workflows/${rootId}/output`);
    await signIn(visitor, server.acme.key);
    const output = page.getByRole("region", { name: /^Output/ });
    await say(server.acme, rootId, "before ");
    await page.clock.runFor(1000);
    await expect.poll(() => output.textContent()).toContain("before");
    const calls = server.server.gauges().openCalls;
    const look = (hidden: boolean) =>
      page.evaluate(`Object.defineProperty(document, "hidden", { value: ${hidden}, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"))`);
    await look(true);
    await page.clock.runFor(25_000);
    await expect.poll(() => server.server.gauges().openCalls).toBe(calls - 1);
    await say(server.acme, rootId, "meanwhile ");
    await look(false);
    await expect
      .poll(
        async () => {
          await page.clock.runFor(500);
          return output.locator(".text").allTextContents();
        },
        { timeout: 10_000 },
      )
      .toEqual(["before meanwhile "]);
    await finish(server.acme, rootId);
    await visitor.leave();
  });
});
