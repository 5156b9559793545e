/**
 * What `GET /metrics` answers. A registry for each server, since tests and benchmarks start several in one process; only what
 * is of the process is shared. Counters are plain numbers in core and become metrics when somebody asks, so a server that
 * nobody scrapes pays next to nothing.
 */
import { Counter, Gauge, Registry } from "prom-client";
import type { Measures } from "../core/measures.ts";
import { createHistograms } from "./histograms.ts";
import { processMetrics } from "./process-metrics.ts";
import { type Reading, type ReadingsDeps, readings, readNow } from "./readings.ts";

export class Metrics {
  readonly measures: Measures;
  readonly contentType: string;
  readonly #registry = new Registry();
  readonly #metrics: readonly (readonly [Reading, Counter | Gauge])[];
  #asking: Promise<string> | undefined;

  constructor() {
    const registers = [this.#registry];
    this.contentType = this.#registry.contentType;
    this.#metrics = readings.map((reading) => {
      const { name, help, label } = reading;
      const options = { name, help, labelNames: label === undefined ? [] : [label], registers };
      return [reading, reading.type === "counter" ? new Counter(options) : new Gauge(options)] as const;
    });
    this.measures = createHistograms(this.#registry);
    processMetrics();
  }

  /** The text, as of now; who asks meanwhile gets the same. */
  text(deps: ReadingsDeps): Promise<string> {
    this.#asking ??= this.#read(deps).finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #read(deps: ReadingsDeps): Promise<string> {
    const snapshot = readNow(deps);
    for (const [{ label, read }, metric] of this.#metrics) {
      metric.reset();
      for (const [value, number] of Object.entries(read(snapshot))) {
        if (label === undefined) metric.inc(number);
        else metric.inc({ [label]: value }, number);
      }
    }
    const [own, process] = await Promise.all([this.#registry.metrics(), processMetrics().metrics()]);
    return `${own}\n${process}`;
  }
}
