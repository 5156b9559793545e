/** Whatever the text, it arrives whole and is ASCII on the way. */

import fc from "fast-check";
import { expect, test } from "vitest";
import { shortenGrpcMessage } from "../../server/rpc/grpc-message.ts";

function sent(text: string): string {
  const given = { "grpc-status": "3", "grpc-message": encodeURIComponent(text) };
  const trailers = shortenGrpcMessage(given);
  expect(trailers["grpc-status"]).toBe("3");
  return String(trailers["grpc-message"]);
}

test("any text arrives whole, by printable ASCII alone", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (text) => {
      const message = sent(text);
      expect(message).toMatch(/^[\x20-\x7e]*$/);
      expect(decodeURIComponent(message)).toBe(text);
    }),
  );
});

test("what is printable stays as it is", () => {
  expect(sent('workflow_id: "x" must be a UUID, 100% of the time')).toBe(
    'workflow_id: "x" must be a UUID, 100%25 of the time',
  );
});
