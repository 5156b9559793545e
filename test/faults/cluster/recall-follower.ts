/** Follows what is observed about a word, from instance to instance. A space has no end: it is stopped when it has all. */

import { EventType } from "../../../gen/tributary/v1/event_pb.ts";
import type { Cluster } from "./cluster.ts";
import { heartbeatIntervalMs, type Subscribe } from "./reader.ts";
import type { ToldEvent } from "./reader-log.ts";
import { toTold } from "./subscribe-connect.ts";

export const followRecall = (cluster: Cluster, word: string): Subscribe =>
  async function* (instance, [log], signal) {
    if (log === undefined) return;
    const { memory } = cluster.clients(instance, log.reading.scope.branch.tenant, "recalls");
    const answers = memory.recallStream(
      {
        cue: { cue: { case: "text", value: word } },
        follow: true,
        options: {
          start: { case: "afterOffset", value: BigInt(log.position ?? 0) },
          heartbeatIntervalMs,
        },
      },
      { signal },
    );
    for await (const { message: answer } of answers) {
      const message = answer?.message;
      if (message?.case === "results") {
        const events = message.value.results.map(
          ({ observation }): ToldEvent => ({
            offset: Number(observation?.offset),
            workflowId: "",
            task: "",
            type: EventType.OBSERVATION,
            sequence: 0,
            text: `${observation?.sessionId} ${observation?.content}`,
          }),
        );
        yield { log, told: { kind: "events", events } };
      } else if (message !== undefined && message.case !== undefined && message.case !== "snapshotComplete") {
        const told = toTold(message);
        if (told !== undefined) yield { log, told };
      }
    }
  };
