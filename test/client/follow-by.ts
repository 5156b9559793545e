/** The loop of the client's streams over calls that a test makes up. */
import {
  EventReading,
  type FollowItem,
  type FollowOptions,
  type OpenStream,
} from "../../client/read/follow.ts";
import { read } from "../../client/read/reading.ts";
import { toResilience } from "../../client/resilience/options.ts";

export function followBy(
  open: OpenStream,
  options: FollowOptions = {},
  random: () => number = Math.random,
): AsyncGenerator<FollowItem, void> {
  const deps = { resilience: toResilience({}, random) };
  return read(new EventReading("a test", open, options), deps, options.signal);
}
