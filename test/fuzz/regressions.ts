/** Inputs that failed once. They are run before all others, whatever the seed. */
import type { Input } from "./input.ts";

export const regressions: Readonly<Record<string, Input>> = {};
