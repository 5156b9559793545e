/** Multiplex: subscribe, unsubscribe, grant, from the words of event_stream_service.proto alone. */
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { EventStreamService } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { codeOf } from "../api/codes.ts";
import { multiplex } from "../api/multiplex-call.ts";
import { newFamily, newWorkflow, publish, repeat, token } from "../api/trees.ts";
import { useServer } from "../support/server.ts";
import { setVariable } from "../support/variable-call.ts";

const server = useServer();
const unknown = "00000000-0000-7000-8000-000000000000";
const onlyTokens = { types: [EventType.TOKEN] };
const close = (workflowId: string) =>
  server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
const say = (workflowId: string, ...texts: string[]) =>
  publish(
    server.acme,
    texts.map((text) => token(workflowId, text)),
  );
const numbers = (from: number, to: number) => repeat(to - from + 1, (i) => `${from + i}`);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** What a call of its own, opened after it, has been sent proves that the server has had time to send more. */
async function settled(workflowId: string): Promise<void> {
  await using probe = multiplex(server.acme).subscribe("probe", { workflowId });
  await probe.until(() => expect(probe.of("probe").events.length).toBeGreaterThan(0));
  await pause(150);
}

describe("subscribe", () => {
  test("a call without any subscription waits for the first", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using call = multiplex(server.acme);
    await pause(200);
    expect(call.hasFinished).toBe(false);
    call.subscribe("a", { workflowId });
    await call.until(() => expect(call.of("a").opened).toBeDefined());
  });

  test("goes on when all have ended, and takes more", async () => {
    const workflowId = await newWorkflow(server.acme);
    await close(workflowId);
    await using call = multiplex(server.acme).subscribe("a", { workflowId });
    await call.until(() => expect(call.of("a").ended).toBeDefined());
    const next = await newWorkflow(server.acme);
    call.subscribe("b", { workflowId: next });
    await call.until(() => expect(call.of("b").opened).toBeDefined());
    expect(call.hasFinished).toBe(false);
  });

  test("a label that is in use ends the call with ALREADY_EXISTS, which names it", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using call = multiplex(server.acme).subscribe("the label", { workflowId });
    await call.until(() => expect(call.of("the label").opened).toBeDefined());
    call.subscribe("the label", { workflowId });
    const error = ConnectError.from(await call.finished.catch((error) => error));
    expect(Code[error.code]).toBe("AlreadyExists");
    expect(error.message).toContain("the label");
  });

  test("also when both come in one go", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using call = multiplex(server.acme).subscribe("a", { workflowId }).subscribe("a", { workflowId });
    expect(await codeOf(call.finished)).toBe("AlreadyExists");
  });

  test("a label is free again after its end, its error and its removal", async () => {
    const workflowId = await newWorkflow(server.acme);
    const closed = await newWorkflow(server.acme);
    await close(closed);
    await using call = multiplex(server.acme).subscribe("a", { workflowId: closed });
    await call.until(() => expect(call.of("a").ended).toBeDefined());
    call.subscribe("a", { workflowId: unknown });
    await call.until(() => expect(call.of("a").error?.code).toBe("not_found"));
    call.subscribe("a", { workflowId });
    await call.until(() => expect(call.of("a").opened).toBeDefined());
    call.unsubscribe("a");
    await call.until(() => expect(call.of("a").unsubscribed).toBe(true));
    call.subscribe("a", { workflowId });
    await call.until(() => {
      expect(call.of("a").unsubscribed).toBe(false);
      expect(call.of("a").opened).toBeDefined();
    });
  });

  test("a label whose target was bad is free for the next subscribe without waiting for the error", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using call = multiplex(server.acme).subscribe("a", { workflowId: "x" });
    await call.until(() => expect(call.of("a").error?.code).toBe("invalid_argument"));
    call.subscribe("a", { workflowId });
    await call.until(() => expect(call.of("a").opened).toBeDefined());
  });

  test("an empty label is INVALID_ARGUMENT, in-band, and the others go on", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using call = multiplex(server.acme).subscribe("a", { workflowId }).subscribe("", { workflowId });
    await call.until(() => {
      expect(call.of("a").opened).toBeDefined();
      expect(call.of("").error?.code).toBe("invalid_argument");
    });
    await say(workflowId, "x");
    await call.until(() => expect(call.of("a").texts).toContain("x"));
  });

  test("a request without an operation does not end in INTERNAL, nor does it harm a label silently", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using call = multiplex(server.acme).subscribe("a", { workflowId });
    await call.until(() => expect(call.of("a").opened).toBeDefined());
    call.send({});
    await say(workflowId, "x");
    const outcome = await Promise.race([
      call.finished.then(
        () => "ended OK",
        (error: Error) => error.message,
      ),
      call.until(() => expect(call.of("a").texts).toContain("x")).then(() => "goes on"),
    ]);
    expect(outcome).toMatch(/goes on|^\[invalid_argument\]/);
  });

  test("five hundred subscriptions over one call, then five hundred removals", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using call = multiplex(server.acme);
    const labels = repeat(500, (i) => `l${i}`);
    for (const label of labels) call.subscribe(label, { workflowId, options: onlyTokens });
    await call.until(() => {
      for (const label of labels) expect(call.of(label).opened).toBeDefined();
    }, 30_000);
    await say(workflowId, "x");
    await call.until(() => {
      for (const label of labels) expect(call.of(label).texts).toEqual(["x"]);
    }, 30_000);
    for (const label of labels) call.unsubscribe(label);
    await call.until(() => {
      for (const label of labels) expect(call.of(label).unsubscribed).toBe(true);
    }, 30_000);
  });

  test("over Connect on HTTP/2 and gRPC-Web on HTTP/2 too", async () => {
    const workflowId = await newWorkflow(server.acme);
    for (const make of [createConnectTransport, createGrpcWebTransport]) {
      const transport = make({
        baseUrl: server.url,
        httpVersion: "2",
        interceptors: [
          (next) => (request) => {
            request.header.set("authorization", `Bearer ${server.acme.key}`);
            return next(request);
          },
        ],
      });
      await using call = multiplex({ streams: createClient(EventStreamService, transport) });
      call.subscribe("é", { workflowId, initialGrant: 1 });
      await call.until(() => expect(call.of("é").events).toHaveLength(1));
      call.unsubscribe("é");
      await call.until(() => expect(call.of("é").unsubscribed).toBe(true));
      await call
        .subscribe("é", { workflowId })
        .subscribe("é", { workflowId })
        .until(() => {})
        .catch(() => {});
      expect(await codeOf(call.finished)).toBe("AlreadyExists");
    }
  });
});

describe("unsubscribe", () => {
  test("is answered with Unsubscribed, once, after which nothing comes for the label", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using call = multiplex(server.acme).subscribe("a", { workflowId }).subscribe("b", { workflowId });
    await call.until(() => expect(call.of("b").opened).toBeDefined());
    const writing = publish(
      server.acme,
      repeat(5000, (i) => token(workflowId, `${i}`)),
    );
    call.unsubscribe("a");
    await call.until(() => expect(call.of("a").unsubscribed).toBe(true));
    const count = call.order.filter((label) => label === "a").length;
    call.unsubscribe("a");
    await writing;
    await call.until(() => expect(call.of("b").events).toHaveLength(5001));
    expect(call.order.filter((label) => label === "a")).toHaveLength(count);
  });

  test("for an unknown label it is ignored, as is a grant", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using call = multiplex(server.acme)
      .unsubscribe("nobody")
      .grant("nobody", 5)
      .unsubscribe("")
      .grant("", 1)
      .unsubscribe("x".repeat(100))
      .subscribe("a", { workflowId });
    await call.until(() => expect(call.of("a").opened).toBeDefined());
    expect([...call.labels.keys()]).toEqual(["a"]);
  });

  test("of an ended label it is ignored", async () => {
    const workflowId = await newWorkflow(server.acme);
    await close(workflowId);
    await using call = multiplex(server.acme).subscribe("a", { workflowId });
    await call.until(() => expect(call.of("a").ended).toBeDefined());
    call.unsubscribe("a").grant("a", 1).subscribe("b", { workflowId });
    await call.until(() => expect(call.of("b").ended).toBeDefined());
    expect(call.of("a").unsubscribed).toBe(false);
  });

  test("and subscribe again in the same breath: Unsubscribed, Opened, everything from the new start", async () => {
    const workflowId = await newWorkflow(server.acme);
    await say(workflowId, ...numbers(1, 5));
    await using call = multiplex(server.acme).subscribe("a", { workflowId });
    for (let i = 0; i < 20; i++) call.unsubscribe("a").subscribe("a", { workflowId, options: onlyTokens });
    await call.until(() => {
      expect(call.of("a").texts).toEqual(numbers(1, 5));
      expect(call.of("a").unsubscribed).toBe(false);
    });
    expect(call.hasFinished).toBe(false);
  });

  test("resumed with the last offset under the same label, nothing is missed or doubled", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using call = multiplex(server.acme);
    const writing = (async () => {
      for (let i = 0; i < 40; i++) await say(workflowId, `${i}`);
      await close(workflowId);
    })();
    const seen: string[] = [];
    let last = 0n;
    for (;;) {
      call.subscribe("a", {
        workflowId,
        options: { ...onlyTokens, start: { case: "afterOffset", value: last } },
      });
      const before = seen.length;
      await call.until(() => {
        const now = call.of("a");
        expect(now.opened?.startOffset === last && (now.events.length > 2 || now.ended !== undefined)).toBe(
          true,
        );
      });
      if (call.of("a").ended === undefined) {
        call.unsubscribe("a");
        await call.until(() => expect(call.of("a").isOver).toBe(true));
      }
      const { events, texts, ended } = call.of("a");
      seen.push(...texts);
      last = events.at(-1)?.offset ?? last;
      if (ended !== undefined) break;
      expect(seen.length).toBeGreaterThan(before);
    }
    await writing;
    expect(seen).toEqual(repeat(40, (i) => `${i}`));
  });
});

describe("grant", () => {
  test("initial_grant 0 opens and sends no event until the first grant; grants add up", async () => {
    const workflowId = await newWorkflow(server.acme);
    await say(workflowId, ...numbers(1, 20));
    await using call = multiplex(server.acme).subscribe("a", {
      workflowId,
      initialGrant: 0,
      options: onlyTokens,
    });
    await call.until(() => expect(call.of("a").opened).toBeDefined());
    await settled(workflowId);
    expect(call.of("a").events).toHaveLength(0);
    call.grant("a", 1);
    await call.until(() => expect(call.of("a").texts).toEqual(["1"]));
    call.grant("a", 2).grant("a", 3);
    await call.until(() => expect(call.of("a").texts).toEqual(numbers(1, 6)));
    await settled(workflowId);
    expect(call.of("a").texts).toEqual(numbers(1, 6));
    call.grant("a", 0);
    await settled(workflowId);
    expect(call.of("a").texts).toEqual(numbers(1, 6));
    call.grant("a", 1000);
    await call.until(() => expect(call.of("a").texts).toEqual(numbers(1, 20)));
    await say(workflowId, "21");
    await call.until(() => expect(call.of("a").texts).toEqual(numbers(1, 21)));
  });

  test("initial_grant and grants add up", async () => {
    const workflowId = await newWorkflow(server.acme);
    await say(workflowId, ...numbers(1, 20));
    await using call = multiplex(server.acme)
      .subscribe("a", { workflowId, initialGrant: 3, options: onlyTokens })
      .grant("a", 4);
    await call.until(() => expect(call.of("a").texts).toEqual(numbers(1, 7)));
    await settled(workflowId);
    expect(call.of("a").texts).toEqual(numbers(1, 7));
  });

  test("two grants of 2^32-1 do not overflow into none", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using call = multiplex(server.acme)
      .subscribe("a", { workflowId, initialGrant: 0xffffffff, options: onlyTokens })
      .grant("a", 0xffffffff)
      .grant("a", 0xffffffff);
    await say(workflowId, ...numbers(1, 3000));
    await call.until(() => expect(call.of("a").texts).toEqual(numbers(1, 3000)));
  });

  test("without any grant it is not limited", async () => {
    const workflowId = await newWorkflow(server.acme);
    await say(workflowId, ...numbers(1, 3000));
    await using call = multiplex(server.acme).subscribe("a", { workflowId, options: onlyTokens });
    await call.until(() => expect(call.of("a").texts).toEqual(numbers(1, 3000)));
  });

  test("once granted it sends only as many as were granted in all, also when it began without a limit", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using call = multiplex(server.acme)
      .subscribe("a", { workflowId, options: onlyTokens })
      .grant("a", 2);
    await call.until(() => expect(call.of("a").opened).toBeDefined());
    await say(workflowId, ...numbers(1, 10));
    await call.until(() => expect(call.of("a").texts).toEqual(numbers(1, 2)));
    await settled(workflowId);
    expect(call.of("a").texts).toEqual(numbers(1, 2));
  });

  test("the first grant counts from there on, whatever was sent before", async () => {
    const workflowId = await newWorkflow(server.acme);
    await say(workflowId, ...numbers(1, 5));
    await using call = multiplex(server.acme).subscribe("a", { workflowId, options: onlyTokens });
    await call.until(() => expect(call.of("a").texts).toEqual(numbers(1, 5)));
    call.grant("a", 7);
    await settled(workflowId);
    await say(workflowId, ...numbers(6, 20));
    await call.until(() => expect(call.of("a").texts.length).toBeGreaterThanOrEqual(12));
    await settled(workflowId);
    expect(call.of("a").texts).toEqual(numbers(1, 12));
  });

  test("a new subscription of the label begins with its own grant", async () => {
    const workflowId = await newWorkflow(server.acme);
    await say(workflowId, ...numbers(1, 9));
    await using call = multiplex(server.acme)
      .subscribe("a", { workflowId, initialGrant: 2, options: onlyTokens })
      .grant("a", 3)
      .unsubscribe("a")
      .subscribe("a", { workflowId, initialGrant: 1, options: onlyTokens });
    await call.until(() => {
      expect(call.of("a").unsubscribed).toBe(false);
      expect(call.of("a").texts).toEqual(["1"]);
    });
    await settled(workflowId);
    expect(call.of("a").texts).toEqual(["1"]);
    call.unsubscribe("a").subscribe("a", { workflowId, options: onlyTokens });
    await call.until(() => expect(call.of("a").texts).toEqual(numbers(1, 9)));
  });

  test("a label without credit does not hold up a busy one, and loses nothing", async () => {
    const [idle, busy] = [await newWorkflow(server.acme), await newWorkflow(server.acme)];
    await using call = multiplex(server.acme)
      .subscribe("idle", { workflowId: idle, initialGrant: 0, options: onlyTokens })
      .subscribe("same", { workflowId: busy, initialGrant: 0, options: onlyTokens })
      .subscribe("busy", { workflowId: busy, options: onlyTokens });
    await call.until(() => expect(call.of("busy").opened).toBeDefined());
    await say(idle, ...numbers(1, 6000));
    await say(busy, ...numbers(1, 12_000));
    await call.until(() => expect(call.of("busy").events).toHaveLength(12_000), 20_000);
    expect([call.of("idle").events, call.of("same").events]).toEqual([[], []]);
    call.grant("idle", 6000).grant("same", 11_999);
    await call.until(() => {
      expect(call.of("idle").texts).toEqual(numbers(1, 6000));
      expect(call.of("same").texts).toEqual(numbers(1, 11_999));
    }, 20_000);
    await settled(busy);
    expect(call.of("same").events).toHaveLength(11_999);
  });

  test("Ended waits for the last event's credit, and needs none of its own", async () => {
    const workflowId = await newWorkflow(server.acme);
    await say(workflowId, "1", "2");
    await close(workflowId);
    await using call = multiplex(server.acme).subscribe("a", {
      workflowId,
      initialGrant: 1,
      options: onlyTokens,
    });
    await call.until(() => expect(call.of("a").texts).toEqual(["1"]));
    await settled(workflowId);
    expect(call.of("a").ended).toBeUndefined();
    call.grant("a", 1);
    await call.until(() => expect(call.of("a").ended).toBeDefined());
    expect(call.of("a").texts).toEqual(["1", "2"]);
  });

  test("with nothing to send Ended comes without any credit", async () => {
    const workflowId = await newWorkflow(server.acme);
    await close(workflowId);
    await using call = multiplex(server.acme).subscribe("a", {
      workflowId,
      initialGrant: 0,
      options: onlyTokens,
    });
    await call.until(() => expect(call.of("a").ended?.finalOffset).toBe(2n));
  });

  test("a heartbeat without credit stays before the first event that was not sent", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using call = multiplex(server.acme).subscribe("a", {
      workflowId,
      initialGrant: 2,
      options: { ...onlyTokens, heartbeatIntervalMs: 1000 },
    });
    await call.until(() => expect(call.of("a").opened).toBeDefined());
    await say(workflowId, ...numbers(1, 10));
    await call.until(() => expect(call.of("a").heartbeats.length).toBeGreaterThan(2));
    // Event n is at offset n + 1.
    for (const offset of call.of("a").heartbeats) expect(offset).toBeLessThanOrEqual(3);
    call.grant("a", 100);
    await call.until(() => expect(call.of("a").texts).toEqual(numbers(1, 10)));
  });

  test("with conflation and without credit: what is granted counts sent events, the rest is told by `replaced`", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using call = multiplex(server.acme).subscribe("a", {
      workflowId,
      initialGrant: 0,
      options: { types: [EventType.VARIABLE_SET], conflateTypes: [EventType.VARIABLE_SET] },
    });
    await call.until(() => expect(call.of("a").opened).toBeDefined());
    for (let i = 0; i < 12; i++) await setVariable(server.acme, workflowId, `v${i % 2}`, i);
    for (let granted = 1; ; granted++) {
      call.grant("a", 1);
      await call.until(() => expect(call.of("a").events).toHaveLength(granted));
      const { events } = call.of("a");
      const told = events.reduce((sum, { replaced }) => sum + 1 + replaced, 0);
      expect(told).toBeLessThanOrEqual(12);
      if (told === 12) break;
    }
  });

  test("with min_interval_ms: neither more events than granted nor more messages than allowed", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using call = multiplex(server.acme).subscribe("a", {
      workflowId,
      initialGrant: 5,
      options: { ...onlyTokens, minIntervalMs: 300 },
    });
    await call.until(() => expect(call.of("a").opened).toBeDefined());
    for (let i = 1; i <= 10; i++) await say(workflowId, `${i}`);
    await call.until(() => expect(call.of("a").texts).toEqual(numbers(1, 5)));
    await pause(700);
    expect(call.of("a").texts).toEqual(numbers(1, 5));
    call.grant("a", 5);
    await call.until(() => expect(call.of("a").texts).toEqual(numbers(1, 10)));
    expect(call.of("a").batchSizes.length).toBeLessThanOrEqual(4);
  });
});

describe("the end of the call", () => {
  test("half-closed it goes on until its subscriptions have ended, then ends OK", async () => {
    const { root, child } = await newFamily(server.acme);
    await using call = multiplex(server.acme)
      .subscribe("root", { workflowId: root })
      .subscribe("child", { workflowId: child })
      .halfClose();
    await call.until(() => expect(call.of("child").opened).toBeDefined());
    await close(root);
    await call.until(() => expect(call.of("root").ended).toBeDefined());
    await say(child, "x");
    await call.until(() => expect(call.of("child").texts).toContain("x"));
    expect(call.hasFinished).toBe(false);
    await close(child);
    await call.end();
  });

  test("half-closed without subscriptions it ends OK", async () => {
    await using call = await multiplex(server.acme).halfClose().end();
    expect(call.order).toEqual([]);
  });

  test("half-closed after the last was removed it ends OK", async () => {
    const workflowId = await newWorkflow(server.acme);
    await using call = multiplex(server.acme).subscribe("a", { workflowId }).unsubscribe("a").halfClose();
    await call.end();
    expect(call.of("a").unsubscribed).toBe(true);
  });

  test("broken off it leaves nothing behind", async () => {
    const workflowId = await newWorkflow(server.acme);
    const before = server.server.gauges().openCalls;
    for (let i = 0; i < 20; i++) {
      await using call = multiplex(server.acme)
        .subscribe("a", { workflowId, initialGrant: 0 })
        .subscribe("b", { workflowId });
      await call.until(() => expect(call.of("b").opened).toBeDefined());
    }
    await expect.poll(() => server.server.gauges().openCalls).toBe(before);
  });

  test("the tree is deleted under labels that still owe events: no silence, an end or an error for each", async () => {
    const workflowId = await newWorkflow(server.acme);
    const other = await newWorkflow(server.acme);
    await say(workflowId, ...numbers(1, 10));
    await using call = multiplex(server.acme)
      .subscribe("owed", { workflowId, initialGrant: 2, options: onlyTokens })
      .subscribe("other", { workflowId: other });
    await call.until(() => expect(call.of("owed").texts).toEqual(["1", "2"]));
    await close(workflowId);
    await server.acme.workflows.deleteWorkflowTree({ workflowId });
    call.grant("owed", 100);
    await call.until(() => expect(call.of("owed").isOver).toBe(true), 20_000);
    const owed = call.of("owed");
    if (owed.error === undefined && owed.gaps.length === 0) expect(owed.texts).toEqual(numbers(1, 10));
    await say(other, "x");
    await call.until(() => expect(call.of("other").texts).toContain("x"));
  });
});
