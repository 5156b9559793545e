/** Python's grpcio, through `driver.py`: one process for all calls, with classes made from what `buf build` writes. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { buildApi } from "../buf.ts";
import { callOf, codeNames, type Driver, type Json, type Outcome } from "../driver.ts";
import { fromStatusDetails } from "../status-details.ts";

interface Line {
  readonly id: number;
  readonly message?: Json;
  readonly code?: number;
  readonly text?: string;
  readonly details?: string;
}

export async function openPython(python: string, url: string): Promise<Driver> {
  const api = await buildApi();
  const script = join(import.meta.dirname, "../driver.py");
  return driverOf(spawn(python, [script, new URL(url).host, api.path]), () => api.remove());
}

function driverOf(child: ChildProcessWithoutNullStreams, cleanUp: () => Promise<void>): Driver {
  const waiting = new Map<number, (line: Line) => void>();
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {}); // seen by the calls
  let errors = "";
  child.stderr.on("data", (text) => {
    errors += text;
  });
  child.on("close", (code) => failed.reject(new Error(`driver.py ended with ${code}:\n${errors}`)));
  child.stdin.on("error", () => {});
  createInterface({ input: child.stdout }).on("line", (text) => {
    const line: Line = JSON.parse(text);
    waiting.get(line.id)?.(line);
  });
  let lastId = 0;
  const send = (line: object) => child.stdin.write(`${JSON.stringify(line)}\n`);
  return {
    call: (rpc, requests, credential) =>
      callOf((messages, signal) => {
        lastId += 1;
        const id = lastId;
        const ended = Promise.withResolvers<Outcome>();
        waiting.set(id, ({ message, code, text, details }) => {
          if (message !== undefined) messages.push(message);
          else ended.resolve(toOutcome(code ?? 2, text ?? "", details ?? ""));
        });
        send({ id, rpc, requests, credential });
        signal.addEventListener("abort", () => send({ id, cancel: true }), { once: true });
        return Promise.race([ended.promise, failed.promise]);
      }),
    async close() {
      const gone = once(child, "close");
      child.stdin.end();
      await gone;
      await cleanUp();
    },
  };
}

function toOutcome(code: number, message: string, details: string): Outcome {
  return {
    code: codeNames[code] ?? `code ${code}`,
    message,
    details: fromStatusDetails(Buffer.from(details, "base64")),
  };
}
