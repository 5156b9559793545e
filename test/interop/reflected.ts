/**
 * The API as a server tells it by reflection, through `@grpc/grpc-js`: what grpcurl, buf curl, Postman and their like do
 * before the first call. Only the reflection protocol itself is taken from gen/.
 */
import {
  create,
  createFileRegistry,
  type DescService,
  type FileRegistry,
  fromBinary,
  toBinary,
} from "@bufbuild/protobuf";
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import grpc from "@grpc/grpc-js";
import {
  type ServerReflectionRequest,
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
} from "../../gen/grpc/reflection/v1/reflection_pb.ts";

/** The two differ by name alone. */
export type ReflectionVersion = "v1" | "v1alpha";

export interface Reflected {
  /** Full names, as listed. */
  readonly services: readonly string[];
  readonly files: ReadonlyMap<string, FileDescriptorProto>;
  readonly registry: FileRegistry;
}

export async function reflect(client: grpc.Client, version: ReflectionVersion): Promise<Reflected> {
  const [listed] = await ask(client, version, [{ case: "listServices", value: "" }]);
  if (listed?.case !== "listServicesResponse") throw new Error(`expected services, found ${listed?.case}`);
  const services = listed.value.service.map(({ name }) => name);
  // One call for all of them, with every question on its way before the first answer.
  const answers = await ask(
    client,
    version,
    services.map((value) => ({ case: "fileContainingSymbol", value })),
  );
  const files = new Map<string, FileDescriptorProto>();
  for (const answer of answers) {
    if (answer.case !== "fileDescriptorResponse") throw new Error(`expected files, found ${answer.case}`);
    for (const bytes of answer.value.fileDescriptorProto) {
      const file = fromBinary(FileDescriptorProtoSchema, bytes);
      files.set(file.name, file);
    }
  }
  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: importsFirst(files) }));
  return { services, files, registry };
}

export function serviceOf({ registry }: Reflected, name: string): DescService {
  const service = registry.getService(name);
  if (service === undefined) throw new Error(`reflection does not know the service ${name}`);
  return service;
}

type Question = ServerReflectionRequest["messageRequest"];
type Answer = ServerReflectionResponse["messageResponse"];

/** The answers to all questions, asked at once in one call. */
export function ask(
  client: grpc.Client,
  version: ReflectionVersion,
  questions: readonly Question[],
): Promise<Answer[]> {
  return new Promise((resolve, reject) => {
    const answers: Answer[] = [];
    const call = client.makeBidiStreamRequest(
      `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
      (request: ServerReflectionRequest) => Buffer.from(toBinary(ServerReflectionRequestSchema, request)),
      (bytes) => fromBinary(ServerReflectionResponseSchema, bytes),
      new grpc.Metadata(),
    );
    call.on("data", ({ messageResponse }: ServerReflectionResponse) => answers.push(messageResponse));
    call.on("error", reject);
    call.on("end", () => resolve(answers));
    for (const messageRequest of questions)
      call.write(create(ServerReflectionRequestSchema, { messageRequest }));
    call.end();
  });
}

/** A registry wants a file after those that it imports. */
function importsFirst(files: ReadonlyMap<string, FileDescriptorProto>): FileDescriptorProto[] {
  const sorted = new Set<FileDescriptorProto>();
  const add = (name: string): void => {
    const file = files.get(name);
    if (file === undefined) throw new Error(`reflection left out ${name}, which another file imports`);
    if (sorted.has(file)) return;
    file.dependency.forEach(add);
    sorted.add(file);
  };
  for (const name of files.keys()) add(name);
  return [...sorted];
}
