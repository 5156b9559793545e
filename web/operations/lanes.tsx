/** What waits to be stored, by priority: depth, bytes, pressure. Over 80 % sessions are told to slow down. */
import type { ReactNode } from "react";
import type { LaneStats } from "../../gen/tributary/v1/admin_service_pb.ts";
import { PrioritySchema } from "../../gen/tributary/v1/session_pb.ts";
import { formatBytes, formatCount } from "../ui/format.ts";

const backpressure = 0.8;

export function Lanes({ lanes }: { readonly lanes: readonly LaneStats[] }): ReactNode {
  return (
    <section className="block" aria-labelledby="lanes">
      <h2 id="lanes">Lanes and pressure</h2>
      <ul className="lanes">
        {lanes.map(({ priority, depth, capacity, bytes, pressure }) => {
          const name = (PrioritySchema.value[priority]?.localName ?? "lane").toLowerCase();
          const percent = Math.round(pressure * 100);
          return (
            <li key={priority}>
              <b>{name}</b>
              <meter
                aria-label={`Pressure of the lane ${name}`}
                min={0}
                max={1}
                high={backpressure}
                value={pressure}
              />
              <span className="number">{percent} %</span>
              <small>
                {formatCount(depth)} of {formatCount(capacity)} entries, {formatBytes(Number(bytes))}
                {pressure >= backpressure ? " · backpressure" : ""}
              </small>
            </li>
          );
        })}
      </ul>
      <p className="hint">
        A session may have 1,000 entries or 4 MiB on their way (its credit); how much of that is left, only
        its worker is told.
      </p>
    </section>
  );
}
