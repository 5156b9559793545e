/** Links for guests: they open one tree, read-only, and the token is in no request but as a header. */
import { expect, test } from "vitest";
import { describeWith } from "../support/describe-with.ts";
import { useServer } from "../support/server.ts";
import { chromiumTool, signIn, useBrowser } from "./browser.ts";
import { buildConsole } from "./built-console.ts";
import { finish, say, startTree } from "./writing.ts";

const consoleFolder = chromiumTool.path === undefined ? "" : await buildConsole();
const server = useServer({}, undefined, { consoleFolder });
const browser = useBrowser();

describeWith(chromiumTool, "a shared link", () => {
  test("made in the console opens one tree for a guest, live, and its token is in no address that is asked for", async () => {
    const rootId = await startTree(server.acme, "shared");
    const host = await browser.visit(`${server.url}/#/workflows/${rootId}`);
    await signIn(host, server.acme.key);
    await host.page.getByRole("button", { name: "Share", exact: true }).click();
    await host.page.getByRole("button", { name: "Make the link" }).click();
    const link = await host.page.getByRole("textbox", { name: "Link" }).inputValue();
    const token = link.split("/").at(-1) ?? "";
    expect(link).toBe(`${server.url}/#/shared/${rootId}/${token}`);

    const guest = await browser.visit(link);
    const card = guest.page.locator(`#card-${rootId}`);
    await card.waitFor();
    await say(server.acme, rootId, "for guests too");
    await expect.poll(() => card.textContent()).toContain("for guests too");
    expect(guest.page.url()).toBe(`${server.url}/#/workflows/${rootId}`);
    expect(await guest.page.getByRole("navigation").count()).toBe(0);
    expect(await guest.page.getByRole("button", { name: "Share", exact: true }).count()).toBe(0);
    await guest.page.reload();
    await card.waitFor();
    expect(guest.requests.filter((url) => url.includes(token))).toEqual([]);
    await finish(server.acme, rootId);
    await guest.leave();
    await host.leave();
  });

  test("opens no other tree of the tenant, and none of another tenant", async () => {
    const own = await startTree(server.acme, "own");
    const other = await startTree(server.acme, "other");
    const foreign = await startTree(server.globex, "foreign");
    const { token } = await server.acme.tokens.createStreamToken({ workflowIds: [own] });
    for (const workflowId of [other, foreign]) {
      const guest = await browser.visit(`${server.url}/#/shared/${workflowId}/${token}`);
      await guest.page.getByRole("heading", { name: "This workflow is not yours to see" }).waitFor();
      expect(await guest.page.locator(".card").count()).toBe(0);
      await guest.leave(/the server responded with a status of 403/);
    }
    const visitor = await browser.visit(`${server.url}/#/workflows/${foreign}`);
    await signIn(visitor, server.acme.key);
    await visitor.page.getByRole("heading", { name: "This workflow is not yours to see" }).waitFor();
    await visitor.leave(/the server responded with a status of 403/);
    for (const [clients, id] of [
      [server.acme, own],
      [server.acme, other],
      [server.globex, foreign],
    ] as const) {
      await finish(clients, id);
    }
  });

  test("that has expired says so and what to do", async () => {
    const rootId = await startTree(server.acme, "for a moment");
    const { token } = await server.acme.tokens.createStreamToken({ workflowIds: [rootId], ttlSeconds: 1 });
    const guest = await browser.visit(`${server.url}/#/shared/${rootId}/${token}`);
    await expect
      .poll(() => guest.page.locator("#content").textContent(), { timeout: 20_000 })
      .toMatch(/unknown, revoked or expired/);
    await finish(server.acme, rootId);
    await guest.leave(/the server responded with a status of 401/);
  });
});
