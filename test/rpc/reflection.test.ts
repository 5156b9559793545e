import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectRouter, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type ServerReflectionResponse,
  ServerReflection as V1,
} from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as V1Alpha } from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { TaskStreamService } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { WorkflowService } from "../../gen/tributary/v1/workflow_service_pb.ts";
import { reflectionService } from "../../server/rpc/reflection.ts";
import { type RunningServer, serve } from "./serve.ts";

let server: RunningServer;

const routes = (router: ConnectRouter): void => {
  router.service(WorkflowService, {
    getWorkflow: ({ workflowId }) => ({ workflow: { workflowId, name: "found", status: 1 } }),
  });
  reflectionService(router, { services: [WorkflowService, TaskStreamService] });
};

beforeAll(async () => {
  server = await serve(routes);
});
afterAll(() => server[Symbol.asyncDispose]());

type Question = { case: string; value: unknown };
type Answer = ServerReflectionResponse["messageResponse"];

/** The answers to some questions in one call, by case and value. */
async function ask(version: typeof V1 | typeof V1Alpha, ...questions: Question[]) {
  const client = createClient(version as typeof V1, createGrpcTransport({ baseUrl: server.url }));
  async function* requests() {
    for (const messageRequest of questions) yield { host: "h", messageRequest: messageRequest as never };
  }
  const answers: Answer[] = [];
  for await (const { messageResponse, validHost, originalRequest } of client.serverReflectionInfo(
    requests(),
  )) {
    expect(validHost).toBe("h");
    expect(originalRequest?.messageRequest.case).toBe(questions[answers.length]?.case);
    answers.push(messageResponse);
  }
  return answers;
}

function namesOf(answer: Answer | undefined): string[] {
  if (answer?.case !== "fileDescriptorResponse") throw new Error(`expected a file, found ${answer?.case}`);
  return answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name);
}

describe.each([
  ["v1", V1],
  ["v1alpha", V1Alpha],
] as const)("reflection %s", (_name, version) => {
  test("lists the services by name", async () => {
    const [answer] = await ask(version, { case: "listServices", value: "" });
    expect(answer).toMatchObject({
      case: "listServicesResponse",
      value: {
        service: [{ name: "tributary.v1.TaskStreamService" }, { name: "tributary.v1.WorkflowService" }],
      },
    });
  });

  test("gives a file with everything that it imports, itself first", async () => {
    const [answer] = await ask(version, {
      case: "fileByFilename",
      value: "tributary/v1/task_stream_service.proto",
    });
    expect(namesOf(answer)).toEqual([
      "tributary/v1/task_stream_service.proto",
      "buf/validate/validate.proto",
      "google/protobuf/descriptor.proto",
      "tributary/v1/event.proto",
      "tributary/v1/session.proto",
    ]);
  });

  test.each([
    ["a service", "tributary.v1.WorkflowService", "tributary/v1/workflow_service.proto"],
    ["a method", "tributary.v1.WorkflowService.GetWorkflow", "tributary/v1/workflow_service.proto"],
    ["a message", "tributary.v1.Workflow", "tributary/v1/workflow_service.proto"],
    ["a nested message", "google.protobuf.DescriptorProto.ReservedRange", "google/protobuf/descriptor.proto"],
    ["a field", "tributary.v1.TaskEvent.workflow_id", "tributary/v1/task_stream_service.proto"],
    ["a oneof", "tributary.v1.TaskEvent.payload", "tributary/v1/task_stream_service.proto"],
    ["an enum", "tributary.v1.EventType", "tributary/v1/event.proto"],
    ["a value of an enum", "tributary.v1.EVENT_TYPE_TOKEN", "tributary/v1/event.proto"],
    ["a nested enum", "google.protobuf.FieldOptions.CType", "google/protobuf/descriptor.proto"],
    ["a value of a nested enum", "google.protobuf.FieldOptions.CORD", "google/protobuf/descriptor.proto"],
    ["an extension", "buf.validate.field", "buf/validate/validate.proto"],
  ])("finds the file of %s", async (_kind, symbol, file) => {
    const [answer] = await ask(version, { case: "fileContainingSymbol", value: symbol });
    expect(namesOf(answer)[0]).toBe(file);
  });

  test("finds extensions by their number and lists the numbers of a type", async () => {
    const containingType = "google.protobuf.FieldOptions";
    const answers = await ask(
      version,
      { case: "fileContainingExtension", value: { containingType, extensionNumber: 1159 } },
      { case: "allExtensionNumbersOfType", value: containingType },
      { case: "allExtensionNumbersOfType", value: "tributary.v1.Workflow" },
    );
    expect(namesOf(answers[0])[0]).toBe("buf/validate/validate.proto");
    expect(answers[1]?.value).toMatchObject({ baseTypeName: containingType, extensionNumber: [1159] });
    expect(answers[2]?.value).toMatchObject({ baseTypeName: "tributary.v1.Workflow", extensionNumber: [] });
  });

  test("answers what it does not know in-band and goes on", async () => {
    const containingType = "google.protobuf.FieldOptions";
    const answers = await ask(
      version,
      { case: "fileByFilename", value: "no.proto" },
      { case: "fileContainingSymbol", value: "tributary.v1.No" },
      { case: "fileContainingExtension", value: { containingType, extensionNumber: 1 } },
      { case: "allExtensionNumbersOfType", value: "tributary.v1.No" },
      { case: "listServices", value: "" },
    );
    expect(answers.map(({ value }) => (value as { errorCode?: number }).errorCode)).toEqual([
      Code.NotFound,
      Code.NotFound,
      Code.NotFound,
      Code.NotFound,
      undefined,
    ]);
    expect(answers[1]?.value).toMatchObject({ errorMessage: 'symbol "tributary.v1.No" is not known here' });
  });

  test("answers an empty question in-band", async () => {
    const [answer] = await ask(version, { case: undefined as never, value: undefined });
    expect(answer).toMatchObject({ case: "errorResponse", value: { errorCode: Code.InvalidArgument } });
  });
});

const buf = join(import.meta.dirname, "../../node_modules/.bin/buf");
const run = promisify(execFile);

describe.each(["grpc-v1", "grpc-v1alpha"])("buf curl by reflection %s", (reflectProtocol) => {
  async function curl(path: string, ...more: string[]): Promise<string> {
    const options = ["--http2-prior-knowledge", "--protocol", "grpc", "--reflect-protocol", reflectProtocol];
    return (await run(buf, ["curl", ...options, ...more, server.url + path])).stdout;
  }

  test("lists the services", async () => {
    expect((await curl("", "--list-services")).trim().split("\n")).toEqual([
      "tributary.v1.TaskStreamService",
      "tributary.v1.WorkflowService",
    ]);
  });

  test("lists the methods", async () => {
    const methods = (await curl("", "--list-methods")).trim().split("\n");
    const names = [WorkflowService, TaskStreamService].flatMap(({ typeName, methods }) =>
      methods.map(({ name }) => `${typeName}/${name}`),
    );
    expect(methods.sort()).toEqual(names.sort());
  });

  test("makes a call without proto files", async () => {
    const answer = await curl("/tributary.v1.WorkflowService/GetWorkflow", "--data", '{"workflowId": "w-1"}');
    expect(JSON.parse(answer)).toEqual({
      workflow: { workflowId: "w-1", name: "found", status: "WORKFLOW_STATUS_RUNNING" },
    });
  });
});
