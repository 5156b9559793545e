/**
 * Of the Node process: CPU, memory, file descriptors, garbage collection, and how late the event loop is. Made once for a
 * process, however many servers it has: what observes the event loop and the collector could not be stopped again.
 */
import { collectDefaultMetrics, Registry } from "prom-client";

let registry: Registry | undefined;

export function processMetrics(): Registry {
  if (registry === undefined) {
    registry = new Registry();
    collectDefaultMetrics({ register: registry, prefix: "tributary_" });
    // They walk through every connection at each scrape; how many calls are open is told by what they are.
    for (const what of ["handles", "requests", "resources"]) {
      registry.removeSingleMetric(`tributary_nodejs_active_${what}`);
      registry.removeSingleMetric(`tributary_nodejs_active_${what}_total`);
    }
  }
  return registry;
}
