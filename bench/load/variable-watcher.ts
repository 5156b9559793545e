/** Watches the variables of workflows over many gRPC streams. Nothing is decoded: a full client would be measured instead. */
import { create, toBinary } from "@bufbuild/protobuf";
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import { WatchVariablesRequestSchema } from "../../gen/tributary/v1/variable_service_pb.ts";
import { toFrame } from "../wire/grpc-frames.ts";
import { paths } from "../wire/paths.ts";
import { type Address, Connections } from "./connections.ts";
import { follow } from "./subscription.ts";
import { VersionCount, type Watched } from "./version-count.ts";

export interface WatchLoad {
  readonly workflows: readonly string[];
  /** Watcher i watches workflow i modulo their number. */
  readonly watchers: number;
  /** Conflated, with at most one message in so long, ms; absent: every update, at once. */
  readonly conflatedMs?: number | undefined;
}

/** Streams a connection carries at most, and how many connections share even a few. */
const connectionsFor = (watchers: number) => Math.max(Math.min(4, watchers), Math.ceil(watchers / 500));
/** Watches that are opened at once. */
const opening = 100;

export async function open(address: Address) {
  const count = new VersionCount();
  let connections: Connections | undefined;

  /** All watch, from now on, when it resolves. */
  async function watch({ workflows, watchers, conflatedMs }: WatchLoad): Promise<void> {
    const own = await Connections.open(address, connectionsFor(watchers));
    connections = own;
    const onFailure = (error: Error) => {
      if (connections === own) count.fail(error);
    };
    for (let i = 0; i < watchers; i += opening) {
      const some = Array.from({ length: Math.min(opening, watchers - i) }, (_, n) => {
        const workflow = (i + n) % workflows.length;
        const stream = own.call(paths.watchVariables);
        stream.end(toRequest(workflows[workflow] ?? "", conflatedMs));
        return follow(stream, count.join(workflow), onFailure);
      });
      await Promise.all(some);
    }
  }

  async function leave(): Promise<void> {
    const own = connections;
    connections = undefined;
    count.forget();
    own?.close();
  }

  const finish = (last: readonly (readonly number[])[], limitMs: number): Promise<Watched> =>
    count.finish(last, limitMs);

  return { methods: { watch, leave, finish, reset: async () => count.reset() }, close: () => leave() };
}

function toRequest(workflowId: string, conflatedMs: number | undefined): Buffer {
  const conflateTypes = conflatedMs === undefined ? [] : [EventType.VARIABLE_SET, EventType.VARIABLE_DELETED];
  const options = { conflateTypes, minIntervalMs: conflatedMs ?? 0 };
  const request = create(WatchVariablesRequestSchema, { workflowId, options });
  return toFrame(toBinary(WatchVariablesRequestSchema, request));
}
