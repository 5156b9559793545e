/** A bus as bad as the port allows: notices and signals are lost, doubled, robbed of their entries, late, out of order. */
import type { Bus, Notice } from "../../server/core/ports.ts";
import type { Random } from "./random.ts";

export interface BadBus extends Bus {
  /** What became of notices and signals so far. */
  readonly fates: Readonly<Record<"lost" | "late" | "doubled" | "bare" | "kept", number>>;
}

/** Each that says something goes its own way; what is late comes up to `longestMs` after it. */
export function badBus(bus: Bus, random: Random, longestMs = 300): BadBus {
  const fates = { lost: 0, late: 0, doubled: 0, bare: 0, kept: 0 };
  const mistreat = (deliver: (bare: boolean) => void): void => {
    const dice = random.next();
    const fate =
      dice < 0.2 ? "lost" : dice < 0.5 ? "late" : dice < 0.6 ? "doubled" : dice < 0.7 ? "bare" : "kept";
    fates[fate]++;
    if (fate === "late") setTimeout(() => deliver(false), random.below(longestMs)).unref();
    else if (fate !== "lost") deliver(fate === "bare");
    if (fate === "doubled") deliver(false);
  };
  return {
    ...bus,
    fates,
    publish: (notice: Notice) =>
      mistreat((bare) => bus.publish(bare ? { ...notice, entries: undefined } : notice)),
    signal: (topic, body) => mistreat(() => bus.signal(topic, body)),
  };
}
