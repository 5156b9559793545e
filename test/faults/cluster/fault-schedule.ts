/** Which faults happen when: all kinds in turn, in a random order, up to three at once, never two of the same thing. */
import type { Random } from "../../support/random.ts";
import { type FaultName, faults, type Scene } from "./faults.ts";
import { nap } from "./stage.ts";

const mostAtOnce = 3;
/** Between the beginnings of two, ms. */
const mostPauseMs = 600;

export async function runFaults(
  scene: Scene,
  kinds: readonly FaultName[],
  count: number,
  random: Random,
): Promise<void> {
  const { witness, cluster } = scene.stage;
  const running = new Map<string, Promise<void>>();
  let deck: FaultName[] = [];
  for (let i = 0; i < count; i++) {
    if (deck.length === 0) deck = shuffled(kinds, random);
    const name = deck.pop() as FaultName;
    const target = random.pick(cluster.instances);
    const fault = faults[name];
    const broken = fault.breaks === "instance" ? target.name : fault.breaks;
    await running.get(broken);
    while (running.size >= mostAtOnce) await Promise.race(running.values());
    await nap(random.below(mostPauseMs));
    const what = `${i + 1}. ${name}${fault.breaks === "instance" ? ` of ${target.name}` : ""}`;
    witness.note(what);
    const done = fault.run(scene, target).then(
      (how) => witness.note(`   healed: ${what}${how ? ` (${how})` : ""}`),
      (error: Error) => witness.blame(what, `the fault itself failed: ${error.stack}`),
    );
    running.set(
      broken,
      done.finally(() => running.delete(broken)),
    );
  }
  await Promise.all(running.values());
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const left = [...items];
  return items.map(() => left.splice(random.below(left.length), 1)[0] as T);
}
