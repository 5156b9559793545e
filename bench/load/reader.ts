/**
 * Follows workflows over many gRPC streams and counts what comes. It cuts frames, walks over tags and finds the time in each
 * payload, and decodes nothing: a full client would be the bottleneck long before the server.
 */
import { type ClientHttp2Stream, constants } from "node:http2";
import type { Socket } from "node:net";
import { nowUs } from "../measure/clock.ts";
import { type Address, Connections } from "./connections.ts";
import { crowdOf } from "./crowd.ts";
import { type Delivered, DeliveryCount } from "./delivery-count.ts";
import { type Feed, openFeed } from "./feed.ts";
import { openMultiplex } from "./multiplex.ts";
import { call, follow, type Scope } from "./subscription.ts";

/** Streams a connection carries at most. */
const streamsPerConnection = 500;
/** Subscriptions that are opened at once. */
const opening = 100;

export interface ReaderOptions extends Address {
  /** Read over this instead of gRPC, by `subscribe`. */
  readonly feed?: Feed | undefined;
}

export async function open({ feed, ...address }: ReaderOptions) {
  const feeds = new Set<Socket>();
  const opened: Connections[] = [];
  const calls: ClientHttp2Stream[] = [];
  const count = new DeliveryCount();
  let failure: Error | undefined;

  async function connect(readers: number, largeWindows: boolean): Promise<Connections> {
    const needed = Math.ceil(readers / streamsPerConnection);
    const connections = await Connections.open(address, needed, { largeWindows });
    opened.push(connections);
    return connections;
  }

  /** A call that ends after `leave` has not failed. */
  const failureOf = (connections: Connections) => (error: Error) => {
    if (opened.includes(connections)) failure ??= error;
  };

  /** Reader i follows workflow i modulo their number, from now on; all are live when it resolves. */
  async function subscribe(
    workflows: readonly string[],
    readers: number,
    scope: Scope = "tree",
  ): Promise<void> {
    const start =
      feed === undefined
        ? gRpcReader(await connect(readers, true), scope)
        : (id: string) => feedReader(feed, id);
    for (let i = 0; i < readers; i += opening) {
      const batch = Array.from({ length: Math.min(opening, readers - i) }, (_, n) =>
        start(workflows[(i + n) % workflows.length] ?? ""),
      );
      await Promise.all(batch);
    }
  }

  const gRpcReader = (connections: Connections, scope: Scope) => (workflowId: string) => {
    const stream = call(connections, workflowId, "latest", scope);
    calls.push(stream);
    return follow(stream, count.live(), failureOf(connections));
  };

  async function feedReader(from: Feed, workflowId: string): Promise<void> {
    let socket: Socket | undefined;
    const onFailure = (error: Error) => {
      if (socket !== undefined && feeds.has(socket)) failure ??= error;
    };
    socket = await openFeed(from, workflowId, { onEvent: count.liveText(), onFailure });
    feeds.add(socket);
  }

  /** One Multiplex with a label for each workflow; the first so many may send nothing. All are live when it resolves. */
  async function multiplex(workflows: readonly string[], withoutCredit: number): Promise<void> {
    const connections = await connect(1, true);
    const onFailure = failureOf(connections);
    calls.push(await openMultiplex(connections, workflows, withoutCredit, count.labelled, onFailure));
  }

  /** Subscribes on a connection of its own with the windows of a plain client, and then reads nothing more. */
  async function stall(workflowId: string): Promise<void> {
    const stream = call(await connect(1, false), workflowId, "latest");
    stream.on("error", () => {}); // seen by nobody: it does not read
    await new Promise<void>((resolve) => stream.once("data", () => resolve()));
    stream.pause();
  }

  async function finish(expected: number, limitMs: number): Promise<Delivered> {
    const delivered = await count.finish(expected, limitMs);
    if (failure !== undefined) throw failure;
    return delivered;
  }

  /** Ends all subscriptions at once, with their connections or each by itself. Gives the time when it began to. */
  async function leave(how: "connections" | "calls" = "connections"): Promise<number> {
    const began = nowUs();
    const left = opened.splice(0);
    const own = calls.splice(0);
    for (const socket of feeds) {
      feeds.delete(socket);
      socket.destroy();
    }
    if (how === "connections") for (const connections of left) connections.close();
    else for (const stream of own) stream.close(constants.NGHTTP2_CANCEL);
    return began;
  }

  /** Reads from the beginning until every reader has all events, or the time is over. */
  async function replay(workflowId: string, readers: number, expected: number, limitMs: number) {
    const connections = await connect(readers, true);
    count.reset();
    for (let i = 0; i < readers; i += 1) {
      const stream = call(connections, workflowId, "beginning");
      follow(stream, count.stored, failureOf(connections)).catch(() => {}); // `finish` tells
    }
    const delivered = await finish(readers * expected, limitMs);
    await leave();
    return delivered;
  }

  /** So many read from the beginning, each at its own pace; see crowd.ts. */
  async function crowd(workflowId: string, readers: number, expected: number, limitMs: number) {
    const connections = await connect(readers, true);
    try {
      return await crowdOf(connections, workflowId, readers, expected, limitMs);
    } finally {
      await leave();
    }
  }

  return {
    methods: { subscribe, multiplex, stall, reset: async () => count.reset(), finish, leave, replay, crowd },
    close: async () => void (await leave()),
  };
}
