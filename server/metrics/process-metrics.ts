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
  }
  return registry;
}
