/** What a stranger learns from the whole server is the API, complete and to the byte. */
import { execFile } from "node:child_process";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { type DescFile, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import grpc from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { everyRpc } from "../api/every-rpc.ts";
import { useServer } from "../support/server.ts";
import { buf } from "./buf.ts";
import { ask, type Reflected, reflect } from "./reflected.ts";

const server = useServer();
const root = join(import.meta.dirname, "../..");
const rpcs = await everyRpc();
const standardServices = [
  "grpc.health.v1.Health",
  "grpc.reflection.v1.ServerReflection",
  "grpc.reflection.v1alpha.ServerReflection",
];
const services = [...new Set(rpcs.map(({ method }) => method.parent.typeName))];

describe.each(["v1", "v1alpha"] as const)("reflection %s of the whole server", (version) => {
  let client: grpc.Client;
  let reflected: Reflected;
  beforeAll(async () => {
    client = new grpc.Client(new URL(server.url).host, grpc.credentials.createInsecure());
    reflected = await reflect(client, version);
  });
  afterAll(() => client.close());

  test("lists every service of the API, and the standard ones", () => {
    expect(reflected.services.toSorted()).toEqual([...services, ...standardServices].sort());
  });

  test("knows every file of the API, each as the generated code has it", async () => {
    const protoFiles = (await readdir(join(root, "proto/tributary/v1"))).map(
      (name) => `tributary/v1/${name}`,
    );
    expect([...reflected.files.keys()]).toEqual(expect.arrayContaining(protoFiles));
    const generated = filesOfApi();
    expect(generated.map((file) => file.proto.name)).toEqual(expect.arrayContaining(protoFiles));
    for (const { proto } of generated) {
      const found = reflected.files.get(proto.name);
      if (found === undefined) throw new Error(`no file ${proto.name}`);
      const same = Buffer.from(toBinary(FileDescriptorProtoSchema, found)).equals(
        toBinary(FileDescriptorProtoSchema, proto),
      );
      expect([proto.name, same]).toEqual([proto.name, true]);
    }
  });

  test("finds every service, method, message and enum by its name", async () => {
    const symbols = [...symbolsOfApi()];
    const answers = await ask(
      client,
      version,
      symbols.map(({ name }) => ({ case: "fileContainingSymbol", value: name })),
    );
    const found = answers.map((answer, index) => {
      const [bytes] = answer.case === "fileDescriptorResponse" ? answer.value.fileDescriptorProto : [];
      const file = bytes === undefined ? answer.case : fromBinary(FileDescriptorProtoSchema, bytes).name;
      return { name: symbols[index]?.name, file };
    });
    expect(found).toEqual(symbols);
    expect(symbols.length).toBeGreaterThan(rpcs.length * 3); // at least itself, its request and its answer
  });

  test("is enough for buf curl to list every method", async () => {
    const args = [
      "curl",
      "--http2-prior-knowledge",
      "--reflect-protocol",
      `grpc-${version}`,
      "--list-methods",
    ];
    const { stdout } = await promisify(execFile)(buf, [...args, server.url]);
    const listed = stdout
      .trim()
      .split("\n")
      .filter((name) => name.startsWith("tributary."));
    expect(listed.sort()).toEqual(
      rpcs.map(({ method }) => `${method.parent.typeName}/${method.name}`).sort(),
    );
  });
});

/** With everything that they import. */
function filesOfApi(): DescFile[] {
  const files = new Set<DescFile>();
  const add = (file: DescFile): void => {
    if (files.has(file)) return;
    files.add(file);
    file.dependencies.forEach(add);
  };
  for (const { method } of rpcs) add(method.parent.file);
  return [...files];
}

function* symbolsOfApi(): Generator<{ name: string; file: string }> {
  for (const file of filesOfApi()) {
    const named = (name: string) => ({ name, file: file.proto.name });
    for (const service of file.services) {
      yield named(service.typeName);
      for (const { name } of service.methods) yield named(`${service.typeName}.${name}`);
    }
    for (const { typeName } of [...withNested(file.messages), ...file.enums]) yield named(typeName);
  }
}

/** Without the entries of maps, which are no messages of their own to anybody. */
function* withNested(messages: readonly DescMessage[]): Generator<DescMessage> {
  for (const message of messages) {
    yield message;
    yield* withNested(message.nestedMessages);
  }
}
