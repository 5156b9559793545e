/** A writer and a reader of another tenant, beside the fuzz: they must not notice it. */

import { v7 as uuidv7 } from "uuid";
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import type { Clients } from "../support/server.ts";
import { until } from "../support/until.ts";

export interface Neighbours {
  /** Ends both and says what was wrong; of the writer also its slowest call, ms. */
  finish(): Promise<{ written: number; slowestMs: number; problems: string[] }>;
}

const pauseMs = 50;

export async function watchNeighbours({ workflows, tasks, streams }: Clients): Promise<Neighbours> {
  const workflowId = uuidv7();
  await workflows.createWorkflow({ workflowId, name: "w" });
  const problems: string[] = [];
  const read: string[] = [];
  const leave = new AbortController();
  let slowestMs = 0;
  let written = 0;
  let stopping = false;

  const reading = (async () => {
    try {
      for await (const { message } of streams.streamWorkflow({ workflowId }, { signal: leave.signal })) {
        if (message?.message.case !== "events") continue;
        for (const { payload } of message.message.value.events) {
          if (payload.case === "text" && payload.value !== "") read.push(payload.value);
        }
      }
      problems.push("the reader's stream ended");
    } catch (error) {
      if (!leave.signal.aborted) problems.push(`the reader failed: ${error}`);
    }
  })();
  const writing = (async () => {
    while (!stopping) {
      const began = performance.now();
      try {
        const request = {
          workflowExecutionId: workflowId,
          taskExecutionId: "t",
          type: EventType.DATA,
          payload: `n${written}`,
          waitForDurable: true,
        };
        await tasks.streamTaskData(request, { timeoutMs: 10_000 });
        written++;
      } catch (error) {
        problems.push(`the writer failed: ${error}`);
      }
      slowestMs = Math.max(slowestMs, performance.now() - began);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  })();

  return {
    async finish() {
      stopping = true;
      await writing;
      const all = Array.from({ length: written }, (_, i) => `n${i}`);
      const isComplete = () => {
        const texts = read.filter((text) => text.startsWith("n"));
        if (texts.join() !== all.join())
          throw new Error(`the reader has ${texts.length} of ${written}, or not in order`);
      };
      await until(isComplete).catch((error: Error) => problems.push(error.message));
      leave.abort();
      await reading;
      return { written, slowestMs, problems };
    },
  };
}
