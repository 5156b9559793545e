/** The distributions that core observes, by their names in /metrics. */

import type { Registry } from "prom-client";
import type { Measure, Measures } from "../core/measures.ts";
import { type HistogramOptions, PlainHistogram } from "./plain-histogram.ts";

const entries = [1, 2, 5, 10, 20, 50, 100, 250, 500, 1000];
const seconds = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30];

const options: Readonly<Record<Measure, HistogramOptions>> = {
  commitEntries: {
    name: "tributary_commit_entries",
    help: "Entries and commands of a group commit.",
    buckets: entries,
  },
  commitSeconds: {
    name: "tributary_commit_duration_seconds",
    help: "From the sending of a group to the answer of its commit.",
    buckets: seconds,
  },
  ackSeconds: {
    name: "tributary_ack_latency_seconds",
    help: "From the arrival of the oldest batch of a session that a DURABLE ack covers to that ack.",
    buckets: seconds,
  },
  deliverySeconds: {
    name: "tributary_delivery_latency_seconds",
    help: "From the recording of the oldest event of a message to its giving to a reader that was there.",
    buckets: seconds,
  },
};

export function createHistograms(registry: Registry): Measures {
  const commitEntries = new PlainHistogram(options.commitEntries, registry);
  const commitSeconds = new PlainHistogram(options.commitSeconds, registry);
  const ackSeconds = new PlainHistogram(options.ackSeconds, registry);
  const deliverySeconds = new PlainHistogram(options.deliverySeconds, registry);
  const histograms = { commitEntries, commitSeconds, ackSeconds, deliverySeconds };
  return { observe: (measure, value) => histograms[measure].observe(value) };
}
