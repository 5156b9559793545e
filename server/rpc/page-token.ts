/** Page tokens: opaque to callers, and only a position; what may be seen is checked anew for each page. */
import * as z from "zod";
import { DomainError } from "../core/errors.ts";

export function toPageToken(position: object | undefined): string {
  return position === undefined ? "" : Buffer.from(JSON.stringify(position)).toString("base64url");
}

/** undefined: the first page. Throws invalid_argument for what no answer of this call has held. */
export function fromPageToken<T>(token: string, schema: z.ZodType<T>): T | undefined {
  if (token === "") return undefined;
  try {
    return schema.parse(JSON.parse(Buffer.from(token, "base64url").toString()));
  } catch {
    throw new DomainError(
      "invalid_argument",
      `page_token: ${JSON.stringify(token.slice(0, 80))} did not come from this call; pass next_page_token of the previous answer, or nothing`,
    );
  }
}

export const pageSizeOf = (asked: number): number => (asked === 0 ? 100 : asked);

/** Postgres takes no text with U+0000. */
const text = z.string().refine((value) => !value.includes("\0"));

export const offsetPosition = z.object({ offset: z.int().min(0) });
export const workflowPosition = z.object({ createdMs: z.int(), workflowId: z.guid() });
export const keyPosition = z.object({ createdMs: z.int(), apiKeyId: text });
export const sessionPosition = z.object({ createdMs: z.int(), sessionId: z.guid() });
export const slugPosition = z.object({ slug: text });
export const spacePosition = z.object({ space: text });
export const namePosition = z.object({ name: text });
