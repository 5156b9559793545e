/**
 * The SSE routes: `GET /api/tenants/{slug}/stream/workflows/{id}[/consolidated | /tasks/{task}]`. Everything that can be
 * wrong is found, in the order of contract §3, before any 200: `EventSource` never tries again after an error status.
 */
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import * as z from "zod";
import { assertAllowed, routeRules } from "../auth/access-rules.ts";
import type { Authenticator } from "../auth/authenticator.ts";
import { type Principal, toAccess, toCaller, toCallOwner } from "../auth/principal.ts";
import type { CallNotes } from "../core/call-notes.ts";
import { DomainError } from "../core/errors.ts";
import { EventType } from "../core/event.ts";
import type { FollowMessage } from "../core/follow.ts";
import { type SubscribeDeps, type SubscribeOptions, subscribe, type Target } from "../core/subscribe.ts";
import { type LogBug, toConnectError } from "../rpc/error-mapping.ts";
import { clientLeft, roomIn, sinkOf } from "../rpc/response-sink.ts";
import { answerError } from "./answer.ts";
import { securityHeaders } from "./security-headers.ts";
import { takeOverChunks } from "./shared-chunks.ts";
import { chunkedBody, plainBody } from "./sse-body.ts";

export interface SseDeps extends SubscribeDeps {
  readonly authenticator: Authenticator;
  readonly logBug: LogBug;
}

const route = /^\/api\/tenants\/([^/]+)\/stream\/workflows\/([^/]+)(?:\/(consolidated)|\/tasks\/([^/]+))?$/;

/** The route of a path, with names for what differs; undefined: it is none of these. */
export function sseRouteOf(path: string): string | undefined {
  const found = route.exec(path);
  if (found === null) return undefined;
  const [, , , consolidated, task] = found;
  const rest = consolidated !== undefined ? "/consolidated" : task !== undefined ? "/tasks/{task}" : "";
  return `/api/tenants/{tenant}/stream/workflows/{workflow}${rest}`;
}

export async function serveSse(
  deps: SseDeps,
  request: Http2ServerRequest,
  response: Http2ServerResponse,
  url: URL,
  notes: CallNotes | undefined,
): Promise<void> {
  const left = new AbortController();
  response.on("close", () => left.abort(clientLeft));
  response.on("error", () => left.abort(clientLeft));
  let messages: AsyncGenerator<FollowMessage> | undefined;
  try {
    const principal = await authenticate(deps, request, url, notes);
    const { slug, target, options, resumes } = parse(request, url);
    const access = toAccess(principal);
    if (access.tenant !== slug) {
      throw new DomainError(
        "permission_denied",
        `tenant ${JSON.stringify(slug)} of the path is not that of the credential`,
      );
    }
    // Which of them is known with the head; the sink comes after it.
    let body = plainBody;
    const sink = sinkOf(response, (events) => body.ofEvents(events), notes);
    messages = subscribe(deps, access, toCallOwner(principal), target, options, left.signal, sink);
    const first = await messages.next();
    if (first.done === true) return; // the client has left
    const opened = first.value;
    if (
      resumes &&
      opened.kind === "opened" &&
      (opened.finalOffset ?? Number.POSITIVE_INFINITY) <= opened.startOffset
    ) {
      // 204 is what tells EventSource to stop.
      response.writeHead(204, { "cache-control": "no-store", ...securityHeaders() }).end();
      return;
    }
    response.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
      ...securityHeaders(),
    });
    if (request.method === "HEAD") {
      response.end();
      return;
    }
    if (takeOverChunks(response)) body = chunkedBody;
    for (let next: IteratorResult<FollowMessage> = first; next.done !== true; next = await messages.next()) {
      notes?.sent(next.value.kind === "events" ? next.value.events : undefined);
      if (!response.write(body.of(next.value))) await roomIn(response, left.signal);
    }
    if (body.end === undefined) response.end();
    else response.end(body.end);
  } catch (error) {
    const mapped = toConnectError(error, deps.logBug, notes);
    // After the 200 an error can only break the connection; EventSource then comes back with its position.
    if (response.headersSent) response.destroy();
    else answerError(response, mapped);
  } finally {
    await messages?.return(undefined);
  }
}

async function authenticate(
  deps: SseDeps,
  request: Http2ServerRequest,
  url: URL,
  notes: CallNotes | undefined,
): Promise<Principal> {
  const header = request.headers.authorization ?? null;
  const principal = await deps.authenticator.authenticate(header, url.searchParams.get("access_token"));
  if (notes !== undefined) notes.caller = toCaller(principal);
  if (header === null && principal.kind !== "token") {
    throw new DomainError(
      "unauthenticated",
      "access_token takes stream tokens only, since addresses end up in logs; send keys in the header Authorization",
    );
  }
  assertAllowed(routeRules.sse, principal);
  return principal;
}

const wholeNumber = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,16}$/)
    .transform(Number)
    .refine((value) => value >= min && value <= max);

const offset = wholeNumber(0, Number.MAX_SAFE_INTEGER);

const typeNumbers = new Map<string, number>(Object.entries(EventType));
const types = z
  .string()
  .transform((text) => text.split(",").filter((name) => name !== ""))
  .refine((names) => names.every((name) => typeNumbers.has(name)))
  .transform((names) => names.map((name) => typeNumbers.get(name) ?? 0));

const defaultIdleTimeoutMs = 300_000;

function parse(
  request: Http2ServerRequest,
  url: URL,
): { slug: string; target: Target; options: SubscribeOptions; resumes: boolean } {
  const [, slug = "", id = "", consolidated, task] = (route.exec(url.pathname) ?? []).map(decodeSegment);
  if (!z.guid().safeParse(id).success) {
    throw new DomainError(
      "invalid_argument",
      `workflow id: ${JSON.stringify(id.slice(0, 80))} is not a UUID`,
    );
  }
  if (task !== undefined && !/^\P{Cc}{1,255}$/u.test(task)) {
    throw new DomainError(
      "invalid_argument",
      `task id: must be 1–255 printable characters; found ${JSON.stringify(task.slice(0, 80))}`,
    );
  }
  const given = <T>(name: string, schema: z.ZodType<T>, allowed: string): T | undefined => {
    const text = url.searchParams.get(name);
    return text === null ? undefined : check(name, text, schema, allowed);
  };
  const lastEventId = request.headers["last-event-id"];
  const position =
    typeof lastEventId === "string" && lastEventId !== ""
      ? check("Last-Event-ID", lastEventId, offset, "an offset, as in the id of an event")
      : given("after_offset", offset, "a whole number, 0 or more");
  const latest = given("latest", z.enum(["true", "false"]), "true or false") === "true";
  return {
    slug,
    target:
      task !== undefined
        ? { kind: "task", workflowId: id, taskExecutionId: task }
        : { kind: consolidated === undefined ? "workflow" : "consolidated", workflowId: id },
    options: {
      path: "",
      start: position ?? (latest ? "latest" : 0),
      types:
        given("types", types, `names separated by commas, of ${[...typeNumbers.keys()].join(" ")}`) ?? [],
      tasks: [],
      minIntervalMs: given("min_interval_ms", wholeNumber(0, 60_000), "0–60000") ?? 0,
      heartbeatIntervalMs: 0,
      idleTimeoutMs:
        given("idle_timeout_ms", wholeNumber(0, 2 ** 32 - 1), "a whole number, 0 for never") ??
        defaultIdleTimeoutMs,
      expectedEpoch: given("expected_epoch", offset, "a whole number") ?? 0,
    },
    resumes: position !== undefined,
  };
}

function check<T>(name: string, text: string, schema: z.ZodType<T>, allowed: string): T {
  const parsed = schema.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new DomainError(
    "invalid_argument",
    `${name}: must be ${allowed}; found ${JSON.stringify(text.slice(0, 80))}`,
  );
}

function decodeSegment(segment: string | undefined): string | undefined {
  if (segment === undefined) return undefined;
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new DomainError(
      "invalid_argument",
      `path: ${JSON.stringify(segment)} is not percent-encoded UTF-8`,
    );
  }
}
