/** Registers the script as tests of one client; all clients must observe the same. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TestServer } from "../support/server.ts";
import type { Driver } from "./driver.ts";
import { expected } from "./expected.ts";
import * as script from "./script.ts";

export interface ClientOptions {
  /** Why it cannot run on this machine. */
  readonly missing?: string | undefined;
  /** What the contract has otherwise for this way of calling. */
  readonly differs?: { readonly refusals?: object; readonly following?: object };
}

export function describeClient(
  name: string,
  server: TestServer,
  open: () => Promise<Driver>,
  { missing, differs }: ClientOptions = {},
): void {
  const title = missing === undefined ? name : `${name} (${missing})`;
  describe.skipIf(missing !== undefined)(title, () => {
    let driver: Driver;
    beforeAll(async () => {
      driver = await open();
    });
    afterAll(() => driver?.close());
    const stage = () => ({ driver, acme: server.acme.key, globex: server.globex.key });

    test("registers a root and its child, and is told what is taken or malformed", async () => {
      expect(await script.registry(stage())).toEqual(expected.registry);
    });
    test("publishes text, JSON and bytes, and is told how safe they are", async () => {
      expect(await script.publishing(stage())).toEqual(expected.publishing);
    });
    test("is refused with the code of the contract and the field at fault", async () => {
      expect(await script.refusals(stage())).toEqual({ ...expected.refusals, ...differs?.refusals });
    });
    test("follows parent and late child to the end, resumes in the middle, and follows one task", async () => {
      expect(await script.following(stage())).toEqual({ ...expected.following, ...differs?.following });
    });
    test("reads history by pages, in both directions", async () => {
      expect(await script.pages(stage())).toEqual(expected.pages);
    });
  });
}
