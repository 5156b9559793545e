import { expect, test } from "vitest";
import { Random } from "../../support/random.ts";
import { Cluster } from "./cluster.ts";
test("smoke", { timeout: 60000 }, async () => {
  const t0 = Date.now();
  const c = await Cluster.open({ random: new Random(1), bus: "none" });
  console.log("open", Date.now() - t0);
  for (const how of ["fast", "immediate", "kill"] as const) {
    const t = Date.now();
    await c.postgres.restart(how);
    console.log(how, Date.now() - t);
  }
  await c.heal();
  console.log("healed", Date.now() - t0);
  let t = Date.now();
  await c.instances[0]!.stop("SIGKILL"); await c.instances[0]!.start();
  console.log("kill+start", Date.now() - t);
  t = Date.now();
  await c.instances[1]!.stop("SIGTERM"); await c.instances[1]!.start();
  console.log("term+start", Date.now() - t);
  t = Date.now();
  await c.close();
  console.log("close", Date.now() - t);
  expect(1).toBe(1);
});
