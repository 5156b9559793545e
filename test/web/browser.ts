/**
 * The console in a real browser. Each visitor has a context of its own; when it leaves, it must have seen no error on the browser's
 * console, no exception, no violation of the page's policy, and no request to another origin.
 */
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, expect } from "vitest";
import { findChromium } from "../support/tools.ts";

export const chromiumTool = await findChromium();

export interface Visitor {
  readonly page: Page;
  /** Everything that was asked for, as URLs. */
  readonly requests: readonly string[];
  /** Closes the context and judges what was seen. `expecting`: errors of the browser that the test brings about. */
  leave(expecting?: RegExp): Promise<void>;
}

export interface Visits {
  visit(url: string, options?: BrowserContextOptions): Promise<Visitor>;
}

export function useBrowser(): Visits {
  let browser: Browser | undefined;
  beforeAll(async () => {
    if (chromiumTool.path === undefined) return;
    // Chromium's sandbox does not work as root, and nothing strange is loaded here.
    browser = await chromium.launch({ executablePath: chromiumTool.path, args: ["--no-sandbox"] });
  });
  afterAll(() => browser?.close());
  return {
    async visit(url, options = {}) {
      if (browser === undefined) throw new Error("no browser");
      const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
      const page = await context.newPage();
      const troubles: string[] = [];
      const requests: string[] = [];
      page.on("console", (message) => {
        if (["error", "warning"].includes(message.type())) troubles.push(message.text());
      });
      page.on("pageerror", (error) => troubles.push(`exception: ${error.message}`));
      page.on("request", (request) => requests.push(request.url()));
      await page.addInitScript({
        content: `addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
          console.error("policy violated: " + violatedDirective + " " + blockedURI));`,
      });
      await page.goto(url);
      const { origin } = new URL(url);
      return {
        page,
        requests,
        async leave(expecting) {
          await context.close();
          expect(troubles.filter((text) => expecting?.test(text) !== true)).toEqual([]);
          const foreign = requests.filter(
            (asked) => !asked.startsWith(`${origin}/`) && !asked.startsWith("data:"),
          );
          expect(foreign).toEqual([]);
        },
      };
    },
  };
}

/** Signs in with a key, as a person does. */
export async function signIn({ page }: Visitor, key: string): Promise<void> {
  await page.getByLabel("API key or stream token").fill(key);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("navigation", { name: "Views" }).waitFor();
}
