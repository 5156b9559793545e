import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/global-setup.ts"],
    // Files run beside each other, each on a database of its own. Many wait more than they work: four workers keep two
    // cores busy. The files of a worker share its process: to load the modules anew for each took a third of all CPU.
    // Tests run as the server does: Node strips the types itself.
    experimental: { viteModuleRunner: false },
    pool: "forks",
    isolate: false,
    maxWorkers: 4,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // As `until`: a condition is waited for, however slow the machine is.
    expect: { poll: { timeout: 10_000 } },
    // In CI a skip is a failure: see test/support/skips.ts.
    reporters: process.env["CI"] ? ["default", "./test/support/no-skips-reporter.ts"] : ["default"],
  },
});
