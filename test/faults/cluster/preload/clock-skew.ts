/**
 * Loaded into a server before anything else (`--import`): its wall clock is wrong by what the file TEST_CLOCK_FILE says,
 * `{"offsetMs": …, "drift": …}`, read again and again so that the clock can jump while the server runs. Timers are as ever.
 */
import { readFileSync } from "node:fs";

const file = process.env["TEST_CLOCK_FILE"] ?? "";
const realNow = Date.now.bind(Date);
const began = realNow();
let skew = { offsetMs: 0, drift: 0 };

function read(): void {
  try {
    skew = JSON.parse(readFileSync(file, "utf8")) as typeof skew;
  } catch {
    // it is just being written
  }
}

const now = () => Math.floor(realNow() + skew.offsetMs + (realNow() - began) * skew.drift);

read();
setInterval(read, 100).unref();
Date.now = now;
globalThis.Date = new Proxy(Date, {
  construct: (target, args: unknown[], newTarget) =>
    Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget) as object,
});
