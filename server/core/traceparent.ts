/**
 * The W3C trace context of a call or an event: its `traceparent` of version 00 as text, which is what people and headers see, and
 * as 25 bytes (trace id, span id, flags), which is what is stored and sent between instances.
 */

/** Bytes of a trace context. */
export const traceBytes = 25;

const form = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;
/** Of later versions what this one knows comes first (Trace Context, "Versioning of traceparent"). */
const laterForm = /^(?!00|ff)[0-9a-f]{2}(-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})(?:$|-)/;
const isZero = (hex: string): boolean => !/[1-9a-f]/.test(hex);

export interface TraceParts {
  readonly traceId: string;
  readonly spanId: string;
  readonly flags: number;
}

/** undefined: it is none. */
export function parseTraceparent(text: string): TraceParts | undefined {
  const [, traceId = "", spanId = "", flags = ""] = form.exec(text) ?? [];
  return isZero(traceId) || isZero(spanId)
    ? undefined
    : { traceId, spanId, flags: Number.parseInt(flags, 16) };
}

/** As a request's header has it, perhaps of a later version. undefined: none, or not one that can be read. */
export function fromHeader(header: unknown): TraceParts | undefined {
  if (typeof header !== "string" || header.length > 200) return undefined;
  const later = laterForm.exec(header)?.[1];
  return parseTraceparent(later === undefined ? header : `00${later}`);
}

export const toTraceparent = ({ traceId, spanId, flags }: TraceParts): string =>
  `00-${traceId}-${spanId}-${flags.toString(16).padStart(2, "0")}`;

export const isSampled = ({ flags }: TraceParts): boolean => (flags & 1) === 1;

/** Of a text that is one. */
export const traceToBytes = (traceparent: string): Buffer =>
  Buffer.from(traceparent.slice(3, 35) + traceparent.slice(36, 52) + traceparent.slice(53), "hex");

/** From 50 hexadecimal digits. */
export const traceFromHex = (hex: string): string =>
  `00-${hex.slice(0, 32)}-${hex.slice(32, 48)}-${hex.slice(48)}`;

/**
 * What an event keeps: the context that its writer gave for it, else that of the writer's call; of either only one that is
 * sampled. A context that was given must be one (`isTraceparent`).
 */
export function keptTrace(given: string, ofCall: string | undefined): string | undefined {
  if (given === "") return ofCall;
  const parts = parseTraceparent(given);
  return parts !== undefined && isSampled(parts) ? given : undefined;
}

/** What is wrong with a context whose form is right; undefined: nothing. */
export const wrongTraceparent = (field: string, given: string): string | undefined =>
  given === "" || parseTraceparent(given) !== undefined
    ? undefined
    : `${field} must not have a trace id or span id of zeros only, found ${JSON.stringify(given)}; leave it out where nothing is traced`;
