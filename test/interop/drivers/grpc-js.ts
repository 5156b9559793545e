/**
 * `@grpc/grpc-js`, the gRPC library of the Node world, without generated code: it has the API from the server's reflection
 * alone.
 */
import {
  type DescMessage,
  type FileRegistry,
  fromBinary,
  fromJson,
  type JsonValue,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import grpc from "@grpc/grpc-js";
import { callOf, codeNames, type Driver, type Json, type Outcome, ok } from "../driver.ts";
import { type ReflectionVersion, reflect, serviceOf } from "../reflected.ts";
import { fromStatusDetails } from "../status-details.ts";

export async function openGrpcJs(url: string, version: ReflectionVersion): Promise<Driver> {
  const client = new grpc.Client(new URL(url).host, grpc.credentials.createInsecure());
  const reflected = await reflect(client, version);
  return {
    call(rpc, requests, credential) {
      const [service = "", name = ""] = rpc.split("/");
      const method = serviceOf(reflected, service).methods.find((each) => each.name === name);
      if (method === undefined) throw new Error(`reflection does not know the method ${rpc}`);
      const metadata = new grpc.Metadata();
      if (credential !== undefined) metadata.set("authorization", `Bearer ${credential}`);
      const path = `/${rpc}`;
      const encode = encoder(method.input, reflected.registry);
      const decode = decoder(method.output, reflected.registry);
      return callOf((messages, signal) => {
        const { promise, resolve } = Promise.withResolvers<Outcome>();
        const onAnswer = (error: grpc.ServiceError | null, message?: Json) => {
          if (message !== undefined) messages.push(message);
          resolve(error === null ? ok : toOutcome(error));
        };
        let call: { cancel(): void };
        switch (method.methodKind) {
          case "unary":
            call = client.makeUnaryRequest(path, encode, decode, requests[0] ?? {}, metadata, onAnswer);
            break;
          case "client_streaming": {
            const writing = client.makeClientStreamRequest(path, encode, decode, metadata, onAnswer);
            for (const request of requests) writing.write(request);
            writing.end();
            call = writing;
            break;
          }
          case "server_streaming": {
            const reading = client.makeServerStreamRequest(path, encode, decode, requests[0] ?? {}, metadata);
            reading.on("data", (message: Json) => messages.push(message));
            reading.on("error", () => {}); // the status tells it too
            reading.on("status", (status: grpc.StatusObject) => resolve(toOutcome(status)));
            call = reading;
            break;
          }
          case "bidi_streaming":
            throw new Error(`${rpc}: the script has no call in both directions`);
        }
        signal.addEventListener("abort", () => call.cancel(), { once: true });
        return promise;
      });
    },
    async close() {
      client.close();
    },
  };
}

const encoder = (desc: DescMessage, registry: FileRegistry) => (request: Json) =>
  Buffer.from(toBinary(desc, fromJson(desc, request as JsonValue, { registry })));

const decoder = (desc: DescMessage, registry: FileRegistry) => (bytes: Buffer) =>
  toJson(desc, fromBinary(desc, bytes), { registry }) as Json;

function toOutcome({ code, details, metadata }: grpc.StatusObject): Outcome {
  const trailer = metadata.get("grpc-status-details-bin")[0];
  return {
    code: codeNames[code] ?? `code ${code}`,
    message: details,
    details: trailer instanceof Buffer ? fromStatusDetails(trailer) : [],
  };
}
