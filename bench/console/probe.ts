/** Measures a page from inside: the times of its frames, and its heap after a collection. */
import type { Page } from "playwright-core";

export interface Memory {
  readonly heapBytes: number;
}

export interface Cpu {
  /** Of the process that runs and lays out the page. */
  readonly page: number;
  /** Of the one that draws; without a graphics card it does by the CPU what else would cost next to none. */
  readonly painting: number;
}

export interface Frames {
  readonly perSecond: number;
  /** Between two frames, ms. */
  readonly p50: number;
  readonly p95: number;
  readonly longest: number;
}

export interface Probe {
  begin(): Promise<void>;
  end(): Promise<Frames>;
  memory(): Promise<Memory>;
  /** CPU time so far, s. */
  cpu(): Promise<Cpu>;
  /** Moves the slider to this share of the history; until the frame after it is drawn, ms. */
  seek(share: number): Promise<number>;
  goLive(): Promise<number>;
}

const nextFrame = "await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));";

export async function openProbe(page: Page): Promise<Probe> {
  const devtools = await page.context().newCDPSession(page);
  const machine = await page.context().browser()?.newBrowserCDPSession();
  if (machine === undefined) throw new Error("a page without a browser");
  return {
    async cpu() {
      const { processInfo } = await machine.send("SystemInfo.getProcessInfo");
      const seconds = (type: string) =>
        processInfo.filter((each) => each.type === type).reduce((sum, { cpuTime }) => sum + cpuTime, 0);
      return { page: seconds("renderer"), painting: seconds("GPU") };
    },
    async begin() {
      await page.evaluate(`window.frameTimes = [];
        (function frame(at) { frameTimes.push(at); window.frameId = requestAnimationFrame(frame); })(performance.now());`);
    },
    async end() {
      const times: number[] = await page.evaluate("cancelAnimationFrame(frameId), frameTimes");
      const gaps = times.slice(1).map((at, index) => at - (times[index] ?? 0));
      const sorted = gaps.toSorted((a, b) => a - b);
      const quantile = (share: number) =>
        sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
      const spanMs = (times.at(-1) ?? 0) - (times[0] ?? 0);
      return {
        perSecond: (gaps.length * 1000) / spanMs,
        p50: quantile(0.5),
        p95: quantile(0.95),
        longest: quantile(1),
      };
    },
    async memory() {
      await devtools.send("HeapProfiler.collectGarbage");
      const { usedSize } = await devtools.send("Runtime.getHeapUsage");
      return { heapBytes: usedSize };
    },
    seek: (share) =>
      page.evaluate(`(async () => {
        const slider = document.querySelector(".playback input");
        const [min, max] = [Number(slider.min), Number(slider.max)];
        const began = performance.now();
        Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(slider, Math.round(min + (max - min) * ${share}));
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        ${nextFrame}
        return performance.now() - began;
      })()`),
    goLive: () =>
      page.evaluate(`(async () => {
        const began = performance.now();
        document.querySelector(".playback button").click();
        ${nextFrame}
        return performance.now() - began;
      })()`),
  };
}
