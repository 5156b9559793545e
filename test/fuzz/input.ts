/**
 * An input of the fuzz as data: what is sent, and how far. The same seed and number make the same input; credentials differ in
 * each run, so an input names them only. A regression is such an input, written down.
 */

/** Which credential, and what is done to its text. */
export interface Credential {
  readonly of: "acme" | "stranger" | "admin" | "token" | "readOnly" | "none";
  /** Replaces the text from `at` on (modulo its length), `remove` characters long, by `insert`. */
  readonly change?: { readonly at: number; readonly remove: number; readonly insert: string };
}

interface Common {
  /** What the figures count it under. */
  readonly target: string;
  /** What was done to it, for people. */
  readonly note: string;
}

/** A request by Node's own HTTP client. */
export interface CallInput extends Common {
  readonly kind: "call";
  readonly http: "1.1" | "2";
  readonly verb: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly credential: Credential;
  /** Of SSE: the credential goes here and not into a header. */
  readonly tokenInQuery?: boolean;
  /** Written one after the other. */
  readonly parts: readonly Buffer[];
  /** end: the request is complete and must be answered. hold: it stays open, and is broken off. leave: broken off at once. */
  readonly finish: "end" | "hold" | "leave";
}

/** Bytes on a connection. */
export interface RawInput extends Common {
  readonly kind: "raw";
  readonly parts: readonly Buffer[];
  /** No more than so many answers may come: a second one would be to a request that was smuggled. */
  readonly mostAnswers?: number;
}

export type Input = CallInput | RawInput;

/** For the report: bounded, and still enough to see what it is. The seed and the number give all of it. */
export function show(input: Input): string {
  return JSON.stringify({ ...input, parts: input.parts.map(showBytes) });
}

function showBytes(bytes: Buffer): string {
  const shown = bytes.subarray(0, 300);
  const text = shown.toString("latin1");
  const form = /^[\x20-\x7e\r\n\t]*$/.test(text) ? text : `hex:${shown.toString("hex")}`;
  return bytes.length > shown.length ? `${form}… (${bytes.length} bytes)` : form;
}
