/** The input of a seed and a number: each RPC in its turn over each wire, and between them what is no call of an RPC. */
import { Random } from "../support/random.ts";
import { callInput } from "./call-inputs.ts";
import type { Input } from "./input.ts";
import { pathInput, sseInput } from "./path-inputs.ts";
import { http1Input, http2Input } from "./raw-inputs.ts";
import { rpcTargets, wires } from "./targets.ts";

/** The streams that are served without Connect's layers parse envelopes themselves: they get more; and what is acknowledged too. */
const more = rpcTargets.filter(({ name }) =>
  ["StreamWorkflow", "StreamWorkflowConsolidated", "StreamTask", "StreamTaskData"].some((each) =>
    name.endsWith(`.${each}`),
  ),
);

export function inputOf(seed: number, number: number): Input {
  const random = new Random(Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca77));
  switch (number % 10) {
    case 0:
      return sseInput(random);
    case 1:
      return callInput(random, random.pick(more), random.pick(wires));
    case 2:
      return random.chance(0.5)
        ? pathInput(random)
        : random.chance(0.6)
          ? http1Input(random)
          : http2Input(random);
    default: {
      const target = rpcTargets[Math.floor(number / 10) % rpcTargets.length];
      if (target === undefined) throw new Error("there are no RPCs");
      return callInput(random, target, random.pick(wires));
    }
  }
}
