/**
 * Checks messages against the rules in the proto files. One validator serves the interceptor and the engine's look at
 * single messages, so both refuse the same, in the same words.
 *
 * Nearly every message is valid, and plain checks say so (plain-rules.ts). Of any other one pass (2 µs for each event of a batch)
 * stops at the first violation, and only a small invalid message is searched for more: a list of four million bad entries
 * must not become as many violations in memory.
 */
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { toBinary } from "@bufbuild/protobuf";
import type { Validator, Violation } from "@bufbuild/protovalidate";
import { createValidator, ValidationError } from "@bufbuild/protovalidate";
import type { Interceptor } from "@connectrpc/connect";
import { createValidateInterceptor } from "@connectrpc/validate";
import { EventStreamService } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { isSurelyValid } from "./plain-rules.ts";
import { toText } from "./violation-text.ts";

/** Invalid messages up to this size, bytes, are searched for further violations. */
const searchedBytes = 16 * 1024;
/** Violations in an error's details. They travel in trailers, which some clients bound by 8 KiB. */
const attached = 8;
/** Longer map keys, characters, keep their violation out of the details, for the same reason. */
const attachedKeyLength = 256;

// The rules' patterns are our own and mean the same to RegExp as to the default, RE2 in JavaScript, which is slower.
const compiled = new Map<string, RegExp>();
function regexMatch(pattern: string, against: string | Uint8Array): boolean {
  const regex = compiled.get(pattern) ?? new RegExp(pattern, "u");
  compiled.set(pattern, regex);
  return regex.test(against as string);
}

const first = createValidator({ regexMatch, failFast: true });
const all = createValidator({ regexMatch });

/** Throws where a rule itself is wrong: that is our bug, not the caller's. */
const validator: Validator = {
  validate(schema, message) {
    let result = first.validate(schema, message);
    if (result.kind === "invalid" && toBinary(schema, message).byteLength <= searchedBytes) {
      result = all.validate(schema, message);
    }
    if (result.kind === "valid") return result;
    if (result.kind === "error") throw result.error;
    const violations = result.violations.filter(isShort).slice(0, attached);
    const error = new ValidationError(violations);
    error.message = toText(schema, message, result.violations);
    return { kind: "invalid", message, violations, error };
  },
};

/** What is wrong with a message, in the words of the interceptor; undefined: nothing. */
export function invalidReason<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
): string | undefined {
  return isSurelyValid(schema, message) ? undefined : validator.validate(schema, message).error?.message;
}

/** Is there nothing to say about a message? */
export const isValid = <Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): boolean =>
  isSurelyValid(schema, message) || first.validate(schema, message).kind === "valid";

const validate = createValidateInterceptor({ validator });

/**
 * Refuses an invalid request with INVALID_ARGUMENT, the text above, and its violations as a detail. Client streams,
 * bidirectional streams and StreamMany pass: one bad message must not end them, so the engine judges each by itself.
 */
export const validationInterceptor: Interceptor = (next) => {
  const validated = validate(next);
  return (request) => (isJudgedSingly(request.method) ? next(request) : validated(request));
};

function isJudgedSingly(method: { readonly methodKind: string }): boolean {
  return (
    method.methodKind === "client_streaming" ||
    method.methodKind === "bidi_streaming" ||
    method === EventStreamService.method.streamMany
  );
}

const isShort = ({ field }: Violation): boolean =>
  field.every((step) => step.kind !== "map_sub" || String(step.key).length <= attachedKeyLength);
