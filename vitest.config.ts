import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/global-setup.ts"],
    // Files run beside each other, each on a database of its own; more workers than cores would only wait.
    // Tests run as the server does: Node strips the types itself.
    experimental: { viteModuleRunner: false },
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // In CI a skip is a failure: see test/support/skips.ts.
    reporters: process.env["CI"] ? ["default", "./test/support/no-skips-reporter.ts"] : ["default"],
  },
});
