/** `buf curl` with the schema from the server's reflection; a process for each call. grpcurl works alike. */
import { buf, buildApi } from "../buf.ts";
import { callOf, codeNames, type Driver, fromConnectError, type Json, type Outcome, ok } from "../driver.ts";
import { JsonSplitter } from "../json-splitter.ts";
import { runProgram } from "../processes.ts";

export interface BufCurlOptions {
  readonly protocol: "grpc" | "grpcweb" | "connect";
  /** 1.1: the schema comes from the proto files, since reflection needs HTTP/2. */
  readonly http: "1.1" | "2";
}

export async function openBufCurl(url: string, { protocol, http }: BufCurlOptions): Promise<Driver> {
  const api = http === "2" ? undefined : await buildApi();
  const version = api === undefined ? ["--http2-prior-knowledge"] : ["--schema", api.path];
  return {
    call: (rpc, requests, credential) =>
      callOf(async (messages, signal) => {
        const header = credential === undefined ? [] : ["-H", `Authorization: Bearer ${credential}`];
        const args = ["--protocol", protocol, ...version, ...header, "-d", "@-", `${url}/${rpc}`];
        const input = requests.map((request) => JSON.stringify(request)).join("\n");
        const output = new JsonSplitter((document) => messages.push(document));
        const { status, stderr } = await runProgram(
          [buf, "curl", ...args],
          input,
          (bytes) => output.push(bytes),
          signal,
        );
        return status === 0 ? ok : toOutcome(status, stderr);
      }),
    async close() {
      await api?.remove();
    },
  };
}

/** The exit status is eight times the code, and the error is on stderr as in the Connect protocol. */
function toOutcome(status: unknown, stderr: string): Outcome {
  let error: Json;
  try {
    error = JSON.parse(stderr);
  } catch {
    throw new Error(`buf curl ended with ${status}: ${stderr}`);
  }
  const outcome = fromConnectError(error);
  const code = codeNames[Number(status) / 8];
  if (code !== outcome.code) throw new Error(`exit status ${status} does not mean ${outcome.code}`);
  return outcome;
}
