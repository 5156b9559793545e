/** A real nats-server on a port of its own, to be killed, stopped and paused. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { until } from "../../support/until.ts";
import { freePort } from "./free-port.ts";

export class NatsProcess {
  readonly port: number;
  #child: ChildProcess | undefined;

  private constructor(port: number) {
    this.port = port;
  }

  static async start(): Promise<NatsProcess> {
    const nats = new NatsProcess(await freePort());
    await nats.start();
    return nats;
  }

  async start(): Promise<void> {
    this.#child = spawn("nats-server", ["-a", "127.0.0.1", "-p", String(this.port)], {
      env: { PATH: `${process.env["PATH"] ?? ""}:/usr/sbin` },
      stdio: "ignore",
    });
    this.#child.on("error", () => {}); // shows itself below
    await until(() => isListening(this.port));
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  async stop(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(signal);
    child.kill("SIGCONT");
    await gone;
  }
}

async function isListening(port: number): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
  } finally {
    socket.destroy();
  }
}
