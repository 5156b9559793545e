/** `curl -N` on the SSE routes. */
import { type Call, callOf, fromConnectError, ok } from "../driver.ts";
import { HttpAnswer } from "../http-answer.ts";
import { runProgram } from "../processes.ts";
import { toResponse } from "../sse.ts";
import { assertAnswered, type CurlHttp, curlCommand } from "./curl.ts";

export const curlSse =
  (http: CurlHttp, url: () => string) =>
  (path: string, credential: string | undefined): Call =>
    callOf(async (messages, signal) => {
      const answer = new HttpAnswer();
      const command = curlCommand(http, credential, url() + path);
      const onOutput = (bytes: Buffer) => {
        answer.push(bytes);
        if (answer.status !== 200) return;
        const end = answer.body.lastIndexOf("\n\n");
        if (end === -1) return;
        const records = answer.body.toString("utf8", 0, end).split("\n\n");
        answer.body = answer.body.subarray(end + 2);
        for (const record of records) {
          const { event = "", id = "", data } = fieldsOf(record);
          if (data !== undefined) messages.push(toResponse(event, id, data));
        }
      };
      const ended = await runProgram(command, "", onOutput, signal);
      assertAnswered(answer, http, ended);
      if (answer.status === 204) return { code: "no_content", message: "", details: [] };
      if (answer.status !== 200) return fromConnectError(JSON.parse(answer.body.toString()));
      if (!answer.header("content-type").startsWith("text/event-stream"))
        throw new Error("not an event stream");
      return ok;
    });

/** Lines end at "\n" alone: U+2028 and its like are text. */
function fieldsOf(record: string): { event?: string; id?: string; data?: string } {
  return Object.fromEntries(
    record.split("\n").map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, "")];
    }),
  );
}
