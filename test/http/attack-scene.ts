/**
 * What each attack is measured by: a reader and a writer are served meanwhile, without an error, and no connection of the
 * attacker's is left. The port's limits are short here, where the test has to wait for them.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { afterAll, expect } from "vitest";
import { WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { type EdgeLimits, edgeLimits } from "../../server/http/edge-limits.ts";
import { textOf } from "../api/subscription.ts";
import { newWorkflow, publish, token } from "../api/trees.ts";
import { someOf } from "../support/random.ts";
import { type TestServer, useServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { newPair } from "./certificate.ts";
import { RawHttp2 } from "./raw-http2.ts";

/** One of them in each run, both in the full one. */
export const transports = someOf(
  [
    ["without TLS", false],
    ["with TLS", true],
  ] as const,
  1,
);

/** Longest that a write of a normal client may take while the server is attacked, ms; the machine may be busy. */
const patienceMs = 5000;

export interface Attacked {
  readonly server: TestServer;
  readonly port: number;
  readonly authorization: string;
  raw1(): Promise<RawHttp1>;
  raw2(values?: Readonly<Record<number, number>>): Promise<RawHttp2>;
  /** Runs the attack while a reader and a writer work. */
  whileServed(attack: () => Promise<void>): Promise<void>;
}

export async function useAttacked(
  tls: boolean,
  edge: Partial<EdgeLimits> = {},
  env: Readonly<Record<string, string>> = {},
): Promise<Attacked> {
  let ca: string | undefined;
  const files: Record<string, string> = {};
  if (tls) {
    const folder = mkdtempSync(join(tmpdir(), "tributary-attack-"));
    afterAll(() => rmSync(folder, { recursive: true }));
    const { cert, key } = await newPair();
    ca = cert;
    for (const [name, text] of Object.entries({ TLS_CERT: cert, TLS_KEY: key })) {
      files[name] = join(folder, name);
      writeFileSync(join(folder, name), text);
    }
  }
  const server = useServer({ ...files, ...env }, ca, { edge: { ...edgeLimits, ...edge } });
  const port = () => Number(new URL(server.url).port);
  return {
    server,
    get port() {
      return port();
    },
    get authorization() {
      return `Bearer ${server.acme.key}`;
    },
    raw1: () => RawHttp1.dial(port(), tls),
    raw2: (values) => RawHttp2.open(port(), values, { tls }),
    async whileServed(attack) {
      const served = await beginServing(server);
      const before = await connectionsTo(port());
      try {
        await attack();
        // Before the normal clients leave, so that theirs do not make up for one that is left.
        await until(async () => expect(await connectionsTo(port())).toBeLessThanOrEqual(before));
      } finally {
        await served.end();
      }
    },
  };
}

async function beginServing({ acme }: TestServer): Promise<{ end(): Promise<void> }> {
  const workflowId = await newWorkflow(acme);
  const read: string[] = [];
  const reading = (async () => {
    for await (const { message } of acme.streams.streamWorkflow({ workflowId }))
      if (message?.message.case === "events")
        for (const event of message.message.value.events) read.push(textOf(event));
  })();
  let isOver = false;
  let slowestMs = 0;
  const written: string[] = [];
  const write = async () => {
    const text = `${written.length}`;
    const startMs = performance.now();
    await publish(acme, [token(workflowId, text)]);
    slowestMs = Math.max(slowestMs, performance.now() - startMs);
    written.push(text);
  };
  const writing = (async () => {
    while (!isOver) {
      await write();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  return {
    async end() {
      isOver = true;
      await writing;
      await acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
      await reading;
      expect(read.filter((text) => /^\d+$/.test(text))).toEqual(written);
      expect(written.length).toBeGreaterThan(0);
      expect(slowestMs).toBeLessThan(patienceMs);
    },
  };
}

/** Connections that the server has on this port, as the kernel knows them. */
export async function connectionsTo(port: number): Promise<number> {
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const rows = (await readFile("/proc/net/tcp", "utf8")).split("\n").map((row) => row.trim().split(/\s+/));
  // 01 is established, 08 waits for this process to close.
  return rows.filter(([, address, , state]) => address === local && (state === "01" || state === "08"))
    .length;
}

/** A connection by which anything is sent, and what comes back as text. */
export class RawHttp1 {
  readonly socket: Socket;
  answer = "";
  closed = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => {}); // it is meant to be cut off
    socket.on("close", () => {
      this.closed = true;
    });
    socket.on("data", (bytes) => {
      this.answer += bytes;
    });
  }

  static async dial(port: number, tls = false): Promise<RawHttp1> {
    const options = { port, host: "127.0.0.1" };
    const socket = tls ? connectTls({ ...options, rejectUnauthorized: false }) : connect(options);
    const client = new RawHttp1(socket);
    await once(socket, tls ? "secureConnect" : "connect");
    return client;
  }

  /** Sends a piece again and again until the server has ended the connection; answers when. */
  async drip(piece: string, everyMs: number): Promise<void> {
    const timer = setInterval(() => {
      if (this.socket.writable) this.socket.write(piece);
    }, everyMs);
    try {
      await this.ended();
    } finally {
      clearInterval(timer);
    }
  }

  ended(): Promise<void> {
    return until(() => expect(this.closed).toBe(true));
  }
}
