/** What was acknowledged as durable, remembered to be read again at the end. */
import { fromBinary, fromJsonString, type Message } from "@bufbuild/protobuf";
import { AckLevel } from "../../gen/tributary/v1/event_pb.ts";
import {
  type StreamTaskDataRequest,
  StreamTaskDataRequestSchema,
  type StreamTaskDataResponse,
} from "../../gen/tributary/v1/task_stream_service_pb.ts";
import type { Clients } from "../support/server.ts";
import type { CallInput } from "./input.ts";
import * as places from "./places.ts";

interface Promised {
  readonly workflowId: string;
  readonly offset: bigint;
  readonly payload: string;
}

const open = new Set(places.open);
/** Not all of them: each is read on its own. */
const most = 500;

export class Stored {
  readonly #promised: Promised[] = [];

  /** An answer that was OK to a request that this test can read too. */
  note(input: CallInput, answers: readonly Message[]): void {
    if (!input.path.endsWith("/StreamTaskData") || this.#promised.length >= most) return;
    const answer = answers[0] as StreamTaskDataResponse | undefined;
    const request = requestOf(input);
    if (
      answer === undefined ||
      request === undefined ||
      answer.level !== AckLevel.DURABLE ||
      answer.duplicate
    )
      return;
    const workflowId = request.workflowExecutionId.toLowerCase();
    if (open.has(workflowId))
      this.#promised.push({ workflowId, offset: answer.offset, payload: request.payload.toWellFormed() });
  }

  get size(): number {
    return this.#promised.length;
  }

  /** What is not there, or is something else. */
  async findLost({ streams }: Clients): Promise<string[]> {
    const lost: string[] = [];
    for (const { workflowId, offset, payload } of this.#promised) {
      const { events } = await streams.readEvents({ workflowId, cursor: offset - 1n, limit: 1 });
      const found = events[0];
      if (found?.offset === offset && (found.payload.value ?? "") === payload) continue;
      lost.push(
        `${workflowId} ${offset}: ${payload.slice(0, 50)}, found ${found?.offset} ${String(found?.payload.value).slice(0, 50)}`,
      );
    }
    return lost;
  }
}

function requestOf({ headers, parts }: CallInput): StreamTaskDataRequest | undefined {
  const type = headers["content-type"] ?? "";
  const bytes = Buffer.concat(parts);
  if (Object.keys(headers).some((name) => name.endsWith("encoding"))) return undefined;
  const content = type.startsWith("application/grpc") ? bytes.subarray(5, 5 + bytes.readUInt32BE(1)) : bytes;
  try {
    return type.endsWith("json")
      ? fromJsonString(StreamTaskDataRequestSchema, content.toString(), { ignoreUnknownFields: true })
      : fromBinary(StreamTaskDataRequestSchema, content);
  } catch {
    return undefined; // the headers were changed too: the server read it in another way
  }
}
