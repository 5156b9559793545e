import type { Lanes, Queued } from "../../server/core/lanes.ts";

/** The next group, as if it were under way no more: its streams may go on in the one after it. */
export function takeGroup(lanes: Lanes): Queued[] {
  const group = lanes.take();
  lanes.release(group);
  return group;
}
