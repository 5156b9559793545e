/** "━━━━━━────  60 %" */
import type { Paint } from "./paint.ts";

/** `share`: 0 to 1. */
export function progressBar(share: number, width: number, paint: Paint): string {
  const whole = Math.min(1, Math.max(0, share));
  const filled = Math.round(whole * width);
  const colour = whole === 1 ? paint.green : paint.cyan;
  const percent = `${String(Math.round(whole * 100)).padStart(3)} %`;
  return `${colour("━".repeat(filled))}${paint.dim("─".repeat(width - filled))} ${percent}`;
}
