/** The console as people use it: from the first load to live words, through time, and through a restart of the server. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { createTributaryClient } from "../../client/node.ts";
import { Role } from "../../gen/tributary/v1/admin_service_pb.ts";
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import { describeWith } from "../support/describe-with.ts";
import { useServer } from "../support/server.ts";
import { chromiumTool, signIn, useBrowser } from "./browser.ts";
import { buildConsole } from "./built-console.ts";
import { takePicture, wantsPictures } from "./pictures.ts";
import { finish, say, startTree, write } from "./writing.ts";

const consoleFolder = chromiumTool.path === undefined ? "" : await buildConsole();
const server = useServer({}, undefined, { consoleFolder });
const browser = useBrowser();

describeWith(chromiumTool, "the console", () => {
  test("shows a tree from the first load to live words, with a child that starts late", async () => {
    const rootId = await startTree(server.acme, "the root");
    await say(server.acme, rootId, "before ");
    const visitor = await browser.visit(server.url);
    const { page } = visitor;
    await signIn(visitor, server.acme.key);
    await page.getByRole("link", { name: /the root/ }).click();
    const root = page.locator(`#card-${rootId}`);
    await expect.poll(() => root.textContent()).toContain("before");
    await say(server.acme, rootId, "and ", "after");
    await expect.poll(() => root.textContent()).toContain("before and after");
    expect(await page.getByRole("status").first().textContent()).toContain("live");

    const childId = await startTree(server.acme, "the late child", rootId);
    await write(server.acme, childId, EventType.PROGRESS, { progress: 0.4 });
    await say(server.acme, childId, "here ", "too");
    const child = page.locator(`#card-${childId}`);
    await expect.poll(() => child.textContent()).toContain("here too");
    expect(await child.getByRole("progressbar").getAttribute("aria-valuenow")).toBe("40");

    await write(server.acme, childId, EventType.TOOL_CALL, {
      id: "1",
      name: "weather",
      arguments: { at: "sea" },
    });
    await write(server.acme, childId, EventType.TOOL_RESULT, { id: "1", name: "weather", result: "calm" });
    await write(server.acme, childId, EventType.ERROR, { message: "a small leak" });
    await child.click();
    const output = page.getByRole("region", { name: "Output of the late child" });
    await expect
      .poll(() => output.textContent())
      .toMatch(/here too.*weather.*"at":"sea".*→ calm.*a small leak/s);
    expect(await child.textContent()).toContain("1 error");

    await finish(server.acme, rootId);
    await expect.poll(() => page.getByRole("status").first().textContent()).toContain("ended");
    await expect.poll(() => root.textContent()).toContain("completed");
    await visitor.leave();
  });

  test("goes on after a restart of the server without gap or duplicate in the text", async () => {
    const rootId = await startTree(server.acme, "through a restart");
    const visitor = await browser.visit(`${server.url}/#/workflows/${rootId}/output`);
    const { page } = visitor;
    await signIn(visitor, server.acme.key);
    const output = page.getByRole("region", { name: /^Output/ });
    const words = Array.from({ length: 60 }, (_, at) => `w${at} `);
    await say(server.acme, rootId, ...words.slice(0, 30));
    await expect.poll(() => output.textContent()).toContain("w29 ");
    await server.restart();
    await say(server.acme, rootId, ...words.slice(30));
    await expect
      .poll(() => output.locator(".text").allTextContents(), { timeout: 20_000 })
      .toEqual([words.join("")]);
    await expect.poll(() => page.getByRole("status").first().textContent()).toContain("live");
    await finish(server.acme, rootId);
    await visitor.leave(/net::ERR_/); // the browser itself reports the connections that were lost
  });

  test("stands still while it is paused, goes back in time, and goes live again with what came meanwhile", async () => {
    const rootId = await startTree(server.acme, "in time");
    await say(server.acme, rootId, "one ", "two ", "three ");
    const visitor = await browser.visit(`${server.url}/#/workflows/${rootId}`);
    const { page } = visitor;
    await signIn(visitor, server.acme.key);
    const card = page.locator(`#card-${rootId}`);
    await expect.poll(() => card.textContent()).toContain("one two three");
    await page.getByRole("button", { name: "Pause" }).click();
    await say(server.acme, rootId, "four");
    await expect.poll(() => page.getByRole("slider").getAttribute("max")).toBe("5");
    expect(await card.textContent()).not.toContain("four");
    await page.getByRole("slider").fill("3"); // created, one, two
    await expect.poll(() => card.locator(".words").textContent()).toBe("one two ");
    await page.getByRole("button", { name: "One event back" }).click();
    await expect.poll(() => card.locator(".words").textContent()).toBe("one ");
    expect(await page.getByRole("region", { name: "Events" }).locator("li").count()).toBe(2);
    await page.getByRole("button", { name: "Go live" }).click();
    await expect.poll(() => card.locator(".words").textContent()).toBe("one two three four");
    await finish(server.acme, rootId);
    await visitor.leave();
  });

  test("copies the calls for what is on the screen, which work, without the key unless one asks", async () => {
    const rootId = await startTree(server.acme, "to be copied");
    await say(server.acme, rootId, "by curl");
    await finish(server.acme, rootId);
    const visitor = await browser.visit(`${server.url}/#/workflows/${rootId}`);
    const { page } = visitor;
    await signIn(visitor, server.acme.key);
    await page.getByRole("button", { name: "Copy as…" }).click();
    const text = page.getByRole("tabpanel", { name: "curl", exact: true });
    await expect.poll(() => text.textContent()).toContain("/api/tenants/acme/");
    const command = (await text.textContent()) ?? "";
    expect(command).toContain('"Authorization: Bearer $TRIBUTARY_API_KEY"');
    const { stdout } = await promisify(execFile)("bash", ["-c", command], {
      env: { PATH: process.env["PATH"], TRIBUTARY_API_KEY: server.acme.key },
    });
    expect(stdout).toContain('"payload":"by curl"');
    for (const tool of ["buf curl", "grpcurl", "SDK"]) {
      await page.getByRole("tab", { name: tool }).click();
      const shown = (await page.getByRole("tabpanel", { name: tool }).textContent()) ?? "";
      expect(shown).toContain(rootId);
      expect(shown).not.toContain(server.acme.key);
    }
    await page.getByLabel("with my real credential").check();
    expect(await page.getByRole("tabpanel", { name: "SDK" }).textContent()).toContain(server.acme.key);
    await visitor.leave();
  });

  test("lists trees live, finds them by name and status, and starts a demo run that comes to its end", async () => {
    const quietId = await startTree(server.globex, "a quiet one");
    const visitor = await browser.visit(server.url);
    const { page } = visitor;
    await signIn(visitor, server.globex.key);
    const rows = page.getByRole("list", { name: "Workflows" }).getByRole("link");
    await expect.poll(() => rows.allTextContents()).toEqual([expect.stringContaining("a quiet one")]);
    const loudId = await startTree(server.globex, "a loud one");
    await expect.poll(() => rows.count()).toBe(2);
    const loud = page.getByRole("link", { name: /a loud one/ });
    // The rate is told by heartbeats, once a second.
    await expect.poll(() => loud.textContent(), { timeout: 10_000 }).toMatch(/\/s · 1 events/);
    await say(server.globex, loudId, "x", "y", "z");
    await expect.poll(() => loud.textContent(), { timeout: 10_000 }).toMatch(/\/s · 4 events/);
    await finish(server.globex, quietId);
    await expect
      .poll(() => page.getByRole("link", { name: /a quiet one/ }).textContent())
      .toContain("completed");
    await page.getByText("Running", { exact: true }).click();
    await expect.poll(() => rows.allTextContents()).toEqual([expect.stringContaining("a loud one")]);
    await page.getByText("All", { exact: true }).click();
    await page.getByRole("searchbox").fill("quiet");
    await expect.poll(() => rows.allTextContents()).toEqual([expect.stringContaining("a quiet one")]);
    await finish(server.globex, loudId);

    await page.getByRole("button", { name: "Start a demo run" }).click();
    await page.getByText("plan a river trip").first().waitFor();
    await page.getByText("Mittags ein Boot").first().waitFor({ timeout: 40_000 });
    await takeTour(page);
    await expect
      .poll(() => page.getByRole("status").first().textContent(), { timeout: 50_000 })
      .toContain("ended");
    expect(await page.locator(".card").allTextContents()).toEqual(
      ["plan a river trip", "research", "budget", "write the guide", "translate"].map((name) =>
        expect.stringMatching(new RegExp(`completed.*${name}`)),
      ),
    );
    await visitor.leave();
  });

  test("refuses a wrong key, and says what a key without the role MANAGE may not see", async () => {
    const visitor = await browser.visit(server.url);
    const { page } = visitor;
    await page.getByLabel("API key or stream token").fill("trib_nonsense");
    await page.getByRole("button", { name: "Sign in" }).click();
    await expect.poll(() => page.getByRole("alert").textContent()).toContain("not valid");
    const { key } = await server.admin.admin.createApiKey({ tenantSlug: "acme", roles: [Role.READ] });
    await signIn(visitor, key);
    await page.getByRole("link", { name: "Operations" }).click();
    await page.getByText("need a key with the role MANAGE").waitFor();
    expect(await page.getByText("Events a second").count()).toBe(1);
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("API key or stream token").waitFor();
    await page.reload();
    await page.getByLabel("API key or stream token").waitFor();
    await visitor.leave(/the server responded with a status of 40[13]/);
  });

  test("finds observations by words, and shows those that come while one looks", async () => {
    const writer = createTributaryClient({ baseUrl: server.url, credential: server.acme.key });
    const session = writer.openObservations();
    const observe = async (content: string) => (await session.write({ content })).settled;
    await observe("an otter at the bridge");
    await observe("a heron at the weir");
    const visitor = await browser.visit(`${server.url}/#/memory`);
    const { page } = visitor;
    await signIn(visitor, server.acme.key);
    const found = page.locator(".recall .content");
    await expect
      .poll(() => found.allTextContents())
      .toEqual(["a heron at the weir", "an otter at the bridge"]);
    await page.getByRole("searchbox").fill("otter");
    await expect.poll(() => found.allTextContents()).toEqual(["an otter at the bridge"]);
    await observe("two herons");
    await observe("the otter again");
    await expect.poll(() => found.allTextContents()).toEqual(["the otter again", "an otter at the bridge"]);
    expect(await page.locator(".recall li").first().textContent()).toContain("new");
    await session.close();
    writer.close();
    await visitor.leave();
  });

  test("shows sessions, lanes and what happens in the service to a key with the role MANAGE", async () => {
    const rootId = await startTree(server.acme, "written by a session");
    const visitor = await browser.visit(`${server.url}/#/operations`);
    const { page } = visitor;
    await signIn(visitor, server.acme.key);
    await page.getByText("Lanes and pressure").waitFor();
    await expect.poll(() => page.getByRole("status").first().textContent()).toContain("live");
    const writer = createTributaryClient({ baseUrl: server.url, credential: server.acme.key });
    const session = writer.openSession({ workflowId: rootId });
    await session.opened;
    const events = page.getByRole("log", { name: "System events" });
    await expect.poll(() => events.textContent()).toContain("session attached");
    await session.detach();
    await expect.poll(() => events.textContent()).toContain("session detached");
    const table = page.getByRole("region", { name: "Table of sessions" });
    await expect.poll(() => table.textContent(), { timeout: 15_000 }).toMatch(/detached.* left/);
    writer.close();
    await finish(server.acme, rootId);
    await visitor.leave();
  });

  test("shows variables as they change, with the changes before", async () => {
    const rootId = await startTree(server.acme, "with variables");
    const set = (value: number) =>
      server.acme.variables.setVariable({
        workflowId: rootId,
        assignment: { name: "level", value: { kind: { case: "numberValue", value } } },
        source: "gauge",
      });
    await set(1);
    await set(2);
    const visitor = await browser.visit(`${server.url}/#/workflows/${rootId}/variables`);
    const { page } = visitor;
    await signIn(visitor, server.acme.key);
    const value = page.locator(".variables .value");
    await expect.poll(() => value.textContent()).toBe("2");
    await set(3);
    await expect.poll(() => value.textContent()).toBe("3");
    await page.locator(".variables summary").click();
    const history = page.locator(".variables tbody tr td:nth-child(2)");
    await expect.poll(() => history.allTextContents()).toEqual(["3", "2", "1"]);
    await finish(server.acme, rootId);
    await visitor.leave();
  });
});

/** The demo run in the middle, for the docs. */
async function takeTour(page: Page): Promise<void> {
  if (!wantsPictures) return;
  const tree = page.url();
  await page.emulateMedia({ colorScheme: "light" });
  await takePicture(page, "tree-light");
  await page.emulateMedia({ colorScheme: "dark" });
  await takePicture(page, "tree-dark");
  await page.setViewportSize({ width: 390, height: 844 });
  await takePicture(page, "tree-phone");
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.getByRole("link", { name: "Operations" }).click();
  await page.getByText("Lanes and pressure").waitFor();
  await page.getByText(/healthy/).waitFor();
  await takePicture(page, "operations");
  await page.goto(tree);
}
