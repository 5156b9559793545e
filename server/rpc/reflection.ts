/** gRPC server reflection, v1 and v1alpha (which differ by name alone): lets `buf curl` and grpcurl call without proto files. */
import type { DescEnum, DescFile, DescMessage, DescService } from "@bufbuild/protobuf";
import { toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ConnectRouter, type ServiceImpl } from "@connectrpc/connect";
import {
  type ServerReflectionRequest as RequestV1,
  ServerReflection as V1,
} from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import {
  type ServerReflectionRequest as RequestV1Alpha,
  ServerReflection as V1Alpha,
} from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { limits } from "../core/limits.ts";
import { wellFormed } from "./error-mapping.ts";

export interface ReflectionDeps {
  /** The services to tell of, with everything that their files import. */
  readonly services: readonly DescService[];
}

type Question = (RequestV1 | RequestV1Alpha)["messageRequest"];

export function reflectionService(router: ConnectRouter, deps: ReflectionDeps): void {
  const answer = createAnswer(deps.services);
  const reply = <Request extends { host: string; messageRequest: Question }>(request: Request) => ({
    validHost: request.host,
    originalRequest: request,
    messageResponse: answer(request.messageRequest),
  });
  const options = { readMaxBytes: limits.openMessageBytes };
  const v1: ServiceImpl<typeof V1> = {
    async *serverReflectionInfo(requests) {
      for await (const request of readable(requests)) yield reply(request);
    },
  };
  const v1alpha: ServiceImpl<typeof V1Alpha> = {
    async *serverReflectionInfo(requests) {
      for await (const request of readable(requests)) yield reply(request);
    },
  };
  router.service(V1, v1, options);
  router.service(V1Alpha, v1alpha, options);
}

/** What is wrong with a message is said in words that every protocol can send. */
async function* readable<T>(requests: AsyncIterable<T>): AsyncIterable<T> {
  try {
    yield* requests;
  } catch (error) {
    throw error instanceof ConnectError ? wellFormed(error) : error;
  }
}

function createAnswer(services: readonly DescService[]) {
  const files = new Set<DescFile>();
  for (const { file } of services) withImports(file, files);
  const all = [...files];
  const paths = new Map(all.map((file) => [file.proto.name, file]));
  const symbols = new Map(
    all.flatMap((file) => Array.from(symbolsOf(file), (symbol) => [symbol, file] as const)),
  );
  const messages = new Set(
    all.flatMap((file) => Array.from(withNested(file.messages), ({ typeName }) => typeName)),
  );
  const extensions = all.flatMap(extensionsOf);
  const extensionsTo = (type: string) => extensions.filter(({ extendee }) => extendee.typeName === type);
  const service = services
    .map(({ typeName }) => ({ name: typeName }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));

  return ({ case: kind, value }: Question) => {
    switch (kind) {
      case "fileByFilename":
        return fileAnswer(paths.get(value), `file "${value}"`);
      case "fileContainingSymbol":
        return fileAnswer(symbols.get(value), `symbol "${value}"`);
      case "fileContainingExtension": {
        const { containingType: type, extensionNumber: number } = value;
        const found = extensionsTo(type).find((extension) => extension.number === number);
        return fileAnswer(found?.file, `extension ${number} of "${type}"`);
      }
      case "allExtensionNumbersOfType": {
        if (!messages.has(value)) return failure(Code.NotFound, `message "${value}" is not known here`);
        const extensionNumber = extensionsTo(value).map(({ number }) => number);
        return {
          case: "allExtensionNumbersResponse" as const,
          value: { baseTypeName: value, extensionNumber },
        };
      }
      case "listServices":
        return { case: "listServicesResponse" as const, value: { service } };
      default:
        return failure(Code.InvalidArgument, "message_request must be given, found none");
    }
  };
}

function fileAnswer(file: DescFile | undefined, asked: string) {
  if (file === undefined) return failure(Code.NotFound, `${asked} is not known here`);
  const fileDescriptorProto = [...withImports(file)].map(({ proto }) =>
    toBinary(FileDescriptorProtoSchema, proto),
  );
  return { case: "fileDescriptorResponse" as const, value: { fileDescriptorProto } };
}

/** In-band, as the protocol wants it: the call goes on. */
function failure(errorCode: Code, errorMessage: string) {
  return { case: "errorResponse" as const, value: { errorCode, errorMessage } };
}

/** A file and everything it imports, itself first, each once. */
function withImports(file: DescFile, seen = new Set<DescFile>()): Set<DescFile> {
  if (seen.has(file)) return seen;
  seen.add(file);
  for (const dependency of file.dependencies) withImports(dependency, seen);
  return seen;
}

function* withNested(messages: readonly DescMessage[]): Generator<DescMessage> {
  for (const message of messages) {
    yield message;
    yield* withNested(message.nestedMessages);
  }
}

/** Full names of everything that a file declares. Values of an enum are named beside it, not inside. */
function* symbolsOf(file: DescFile): Generator<string> {
  for (const { typeName, methods } of file.services) {
    yield typeName;
    for (const { name } of methods) yield `${typeName}.${name}`;
  }
  for (const message of withNested(file.messages)) {
    yield message.typeName;
    for (const { name } of [...message.fields, ...message.oneofs]) yield `${message.typeName}.${name}`;
    for (const each of message.nestedEnums) yield* enumSymbols(each);
  }
  for (const each of file.enums) yield* enumSymbols(each);
  for (const extension of extensionsOf(file)) yield extension.typeName;
}

function* enumSymbols({ typeName, name, values }: DescEnum): Generator<string> {
  yield typeName;
  const scope = typeName.slice(0, typeName.length - name.length);
  for (const value of values) yield scope + value.name;
}

const extensionsOf = (file: DescFile) => [
  ...file.extensions,
  ...[...withNested(file.messages)].flatMap((message) => message.nestedExtensions),
];
