/** For `--import`: this process believes that it is CLOCK_SKEW_MS later than it is, in all that tells the date. */
const skewMs = Number(process.env["CLOCK_SKEW_MS"]);
if (!Number.isFinite(skewMs) || skewMs === 0)
  throw new Error(`CLOCK_SKEW_MS: ${process.env["CLOCK_SKEW_MS"]}`);

const RealDate = Date;
const now = () => RealDate.now() + skewMs;
globalThis.Date = new Proxy(RealDate, {
  construct: (target, args: [], newTarget) =>
    Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget) as Date,
  get: (target, name) => (name === "now" ? now : Reflect.get(target, name)),
});
const timeOrigin = performance.timeOrigin + skewMs;
Object.defineProperty(performance, "timeOrigin", { get: () => timeOrigin });
