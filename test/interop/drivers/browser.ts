/** A page in a real browser as a client: connect-web, `EventSource`, and this project's `follow`. */
import type { BrowserContext, Page } from "playwright-core";
import type { PageApi, PageOrder, PageReport, WebProtocol } from "../browser/page-api.ts";
import { type Call, callOf, type Driver, type Outcome } from "../driver.ts";
import { toResponse } from "../sse.ts";

/** All that the server sends; `EventSource` hears only what it listens to. */
const eventNames = [
  ..."open gap closing end token progress data task_error started output tool_call tool_result".split(" "),
  ..."completed failed cancelled workflow_created workflow_completed workflow_failed".split(" "),
  ..."workflow_cancelled cancel_requested variable_set variable_deleted".split(" "),
];

export class BrowserPage {
  readonly #page: Page;
  readonly #waiting = new Map<number, (report: PageReport) => void>();
  #lastId = 0;

  private constructor(page: Page) {
    this.#page = page;
  }

  static async open(context: BrowserContext, url: string): Promise<BrowserPage> {
    const page = await context.newPage();
    const opened = new BrowserPage(page);
    await page.exposeFunction("report", (report: PageReport) => opened.#waiting.get(report.id)?.(report));
    await page.goto(url);
    return opened;
  }

  close(): Promise<void> {
    return this.#page.close();
  }

  /** Runs a script of a page with these constants; what it logs so far. */
  async run(script: string, constants: Readonly<Record<string, string>>): Promise<readonly string[]> {
    const lines: string[] = [];
    this.#page.on("console", (message) => lines.push(message.text()));
    const declared = Object.entries(constants).map(
      ([name, value]) => `const ${name} = ${JSON.stringify(value)};`,
    );
    await this.#page.evaluate(`{ ${declared.join("")}\n${script} }`);
    return lines;
  }

  driver(baseUrl: string, protocol: WebProtocol): Driver {
    return {
      call: (rpc, requests, credential) =>
        this.#begin({ kind: "call", baseUrl, protocol, credential, rpc, requests }),
      async close() {},
    };
  }

  /** Items of `follow`, with the offsets of their events. */
  followTree(baseUrl: string, shareCalls: boolean, credential: string, workflowId: string): Call {
    return this.#begin({ kind: "follow", baseUrl, shareCalls, credential, workflowId });
  }

  /** Records as an `EventSource` hears them: `{name, lastEventId, data}`. Ends with "ok" or, if it gave up, "closed". */
  source(url: string, { closeAtEnd = true }: { closeAtEnd?: boolean } = {}): Call {
    return this.#begin({ kind: "source", url, names: eventNames, closeAtEnd });
  }

  /** The same, in the form of the RPCs. */
  async subscription(url: string, messages: object[], signal: AbortSignal): Promise<Outcome> {
    const call = this.source(url);
    signal.addEventListener("abort", () => void call.cancel(), { once: true });
    // EventSource keeps the last id for records without one, which `toResponse` does not want to see.
    let seen = 0;
    const take = () => {
      for (const { name, lastEventId, data } of call.messages.slice(seen) as {
        name: string;
        lastEventId: string;
        data: string;
      }[]) {
        messages.push(toResponse(name, lastEventId, data));
        seen += 1;
      }
    };
    const timer = setInterval(take, 5);
    try {
      return await call.outcome;
    } finally {
      clearInterval(timer);
      take();
    }
  }

  #begin(order: OrderWithoutId): Call {
    return callOf((messages, signal) => {
      this.#lastId += 1;
      const id = this.#lastId;
      const ended = Promise.withResolvers<Outcome>();
      this.#waiting.set(id, (report) => {
        if ("message" in report) messages.push(report.message);
        else ended.resolve(toOutcome(report));
      });
      const run = (text: string) => (globalThis as unknown as InPage).tributary.run(text);
      this.#page.evaluate(run, JSON.stringify({ ...order, id })).catch(ended.reject);
      signal.addEventListener("abort", () => {
        const cancel = (id: number) => (globalThis as unknown as InPage).tributary.cancel(id);
        const cancelled = this.#page.evaluate(cancel, id);
        cancelled.then(() => ended.resolve({ code: "canceled", message: "", details: [] }), ended.reject);
      });
      return ended.promise;
    });
  }
}

type InPage = { tributary: PageApi };
type OrderWithoutId = {
  [K in PageOrder["kind"]]: Omit<Extract<PageOrder, { kind: K }>, "id">;
}[PageOrder["kind"]];

function toOutcome(report: Exclude<PageReport, { message: unknown }>): Outcome {
  const details = report.details.map(({ type, bytes }) => ({ type, bytes: Uint8Array.from(bytes) }));
  return { code: report.code, message: report.text, details };
}
