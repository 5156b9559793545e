/**
 * Tells when a lane, or a tenant's share of one, is under pressure: from 80 %, until it is at 50 % again. So that many small
 * ups and downs between are one event each way.
 */
import type { Lane } from "../command.ts";
import type { Lanes } from "../lanes.ts";
import { type SystemEvents, SystemEventType } from "./system-events.ts";

const enterAt = 0.8;
const leaveAt = 0.5;

/** Starts it; the returned function stops it. */
export function watchPressure(lanes: Lanes, systemEvents: Pick<SystemEvents, "emit">): () => void {
  const entered = new Map<string, { readonly lane: Lane; readonly tenant: string | undefined }>();
  const tell = (type: SystemEventType, lane: Lane, tenant: string | undefined, level: number) =>
    systemEvents.emit({
      type,
      component: "lanes",
      message: `the ${lane} lane is at ${Math.round(level * 100)} %${tenant === undefined ? "" : ` for tenant ${tenant}`}`,
      tenant,
      metadata: { lane, pressure: level.toFixed(2) },
    });
  return lanes.onPressure((lane, changed) => {
    for (const tenant of changed) {
      const key = `${lane} ${tenant ?? ""}`;
      const level = lanes.usage.pressure(lane, tenant);
      if (level < enterAt || entered.has(key)) continue;
      entered.set(key, { lane, tenant });
      tell(SystemEventType.BACKPRESSURE_ENTERED, lane, tenant, level);
    }
    // Also those that do not send any more: what the others do moves the level of all.
    for (const [key, { lane: of, tenant }] of entered) {
      const level = lanes.usage.pressure(of, tenant);
      if (level > leaveAt) continue;
      entered.delete(key);
      tell(SystemEventType.BACKPRESSURE_LEFT, of, tenant, level);
    }
  });
}
