/** Makes one call of the script and says what came of it, in the form that is compared. */
import { fromBinary, toJson } from "@bufbuild/protobuf";
import { expect } from "vitest";
import { PublishTaskEventsProgressSchema } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { until } from "../support/until.ts";
import type { Call, Driver, Json, Outcome, Rpc } from "./driver.ts";
import { type Names, normalise, subscription } from "./normalise.ts";

/** The one answer of a call that must succeed. */
export async function answer(call: Call): Promise<Json> {
  const outcome = await ended(call);
  expect(outcome).toEqual({ code: "ok", message: "", details: [] });
  return call.messages[0] ?? {};
}

/** How a call with at most one answer ended. */
export async function observe(
  driver: Driver,
  names: Names,
  rpc: Rpc,
  requests: readonly Json[],
  key: string | undefined,
): Promise<unknown> {
  const call = driver.call(rpc, requests, key);
  const { code, message, details } = await ended(call);
  if (code === "ok") return normalise(call.messages, names);
  return {
    code,
    message: normalise(message, names),
    ...(call.messages.length === 0 ? {} : { messages: call.messages }),
    ...(details.length === 0 ? {} : { details: details.map(detailOf) }),
  };
}

function detailOf({ type, bytes }: Outcome["details"][number]): unknown {
  if (type !== PublishTaskEventsProgressSchema.typeName) return type;
  return {
    [type]: toJson(PublishTaskEventsProgressSchema, fromBinary(PublishTaskEventsProgressSchema, bytes)),
  };
}

export async function readToEnd(
  driver: Driver,
  names: Names,
  rpc: Rpc,
  request: Json,
  key: string,
): Promise<unknown> {
  const call = driver.call(rpc, [request], key);
  const { code, message } = await ended(call);
  return { code, ...(message === "" ? {} : { message }), messages: subscription(call.messages, names) };
}

/** A call that should end by itself and does not is a failure that says what came so far. */
export async function ended(call: Call): Promise<Outcome> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`no end after 20 s; so far: ${JSON.stringify(call.messages)}`));
      void call.cancel();
    }, 20_000);
  });
  try {
    return await Promise.race([call.outcome, late]);
  } finally {
    clearTimeout(timer);
  }
}

export async function hasOffset(call: Call, offset: string): Promise<void> {
  await until(() => expect(JSON.stringify(call.messages)).toContain(`"offset":"${offset}"`), 20_000);
}

/** Calls that do not depend on each other run beside each other. */
export async function settled(observed: Record<string, Promise<unknown>>): Promise<Json> {
  const entries = Object.entries(observed).map(async ([name, value]) => [name, await value] as const);
  return Object.fromEntries(await Promise.all(entries));
}
