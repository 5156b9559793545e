/** Moments and spans for people. */

/** "2026-11-20 14:03:22", in the local time zone; "" for 0. */
export function toMoment(ms: bigint): string {
  if (ms === 0n) return "";
  const date = new Date(Number(ms));
  const two = (value: number) => String(value).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** "850 ms", "12 s", "4 min". */
export function toSpan(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 120_000 ? `${Math.round(ms / 100) / 10} s` : `${Math.round(ms / 60_000)} min`;
}
