/**
 * How long the event loop stood still. A machine that is busy with something else delays as well, so what counts is the CPU
 * that this thread used in one step: an input that is expensive uses it, a thread that was not run does not.
 */
export interface LoopWatch {
  /** Longest step, ms of this thread's CPU. */
  readonly longestMs: number;
  stop(): void;
}

const stepMs = 20;

/** `onStep`: called after a step that took longer than `tellMs`, with how long. */
export function watchLoop(tellMs: number, onStep: (ms: number) => void): LoopWatch {
  let before = process.threadCpuUsage();
  let at = performance.now();
  let longestMs = 0;
  const timer = setInterval(() => {
    const now = process.threadCpuUsage();
    const cpuMs = (now.user + now.system - before.user - before.system) / 1000;
    // The timer was late by as much; CPU beyond that was used in other steps.
    const lateMs = performance.now() - at - stepMs;
    const ms = Math.max(0, Math.min(cpuMs, lateMs));
    longestMs = Math.max(longestMs, ms);
    if (ms > tellMs) onStep(ms);
    before = now;
    at = performance.now();
  }, stepMs);
  return {
    get longestMs() {
      return longestMs;
    },
    stop: () => clearInterval(timer),
  };
}
