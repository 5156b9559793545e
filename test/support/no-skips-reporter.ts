/** In CI everything that the tests use is installed, so a skipped test is a failure and says so. */
import type { Reporter, TestModule } from "vitest/node";

export default class NoSkipsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const skipped = modules.flatMap((module) => [...module.children.allTests("skipped")]);
    if (skipped.length === 0) return;
    for (const test of skipped) console.error(`skipped in CI: ${test.fullName} (${test.module.moduleId})`);
    process.exitCode = 1;
  }
}
