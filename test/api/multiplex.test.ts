/** Multiplex: what the comments of Multiplex, Unsubscribe and Grant promise, sentence by sentence. */
import { expect, test } from "vitest";
import { useServer } from "../support/server.ts";
import { multiplex } from "./multiplex-call.ts";
import { newWorkflow, publish, repeat, token } from "./trees.ts";

const server = useServer();
test("smoke", async () => {
  const id = await newWorkflow(server.acme);
  await using call = multiplex(server.acme);
  call.subscribe("a", { workflowId: id });
  await publish(
    server.acme,
    repeat(10, (i) => token(id, `${i}`)),
  );
  await call.until(() => expect(call.of("a").offsets.length).toBe(11));
  call.subscribe("b", { workflowId: id, initialGrant: 3 });
  await call.until(() => expect(call.of("b").offsets.length).toBe(3));
  await server.acme.workflows.closeWorkflow({ workflowId: id, status: 2 });
  call.grant("b", 100).halfClose();
  await call.end();
  expect(call.of("b").offsets.length).toBe(12);
  expect(call.of("b").ended).toBeDefined();
});
