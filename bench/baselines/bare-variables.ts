/** The function `append` alone, with ready SetVariables commands of a size: what the database allows. */
import { append } from "../../db/statements/append.ts";
import type { SetVariables } from "../../server/core/command.ts";
import { toAppendGroup } from "../../server/store/append-group.ts";
import { create } from "../../test/support/commands.ts";
import { stampedText } from "../wire/stamp.ts";
import { variableName } from "../wire/variable-updates.ts";
import { type BareOptions, commitLoop, openShards } from "./stream-shards.ts";

const tenant = "bench";
const stringType = 4;

/** `group` must be a multiple of `variables`. */
export async function open(options: BareOptions & { readonly variables: number }) {
  const { variables, group, payloadBytes } = options;
  const shards = await openShards(options);
  const command = (workflowId: string, rulesVersion: number): SetVariables => ({
    kind: "set_variables",
    tenant,
    streamId: workflowId,
    workflowId,
    lane: "normal",
    idempotent: false,
    patienceMs: undefined,
    source: "",
    full: false,
    entries: variables,
    bytes: variables * payloadBytes,
    items: Array.from({ length: variables }, (_, n) => ({
      name: variableName(n),
      type: stringType,
      value: JSON.stringify(stampedText(n, payloadBytes)),
      constraints: undefined,
      metadata: {},
      clearMetadata: false,
      expectedVersion: undefined,
      rulesVersion,
    })),
  });
  for (const { client, streams } of shards) {
    await append(client, toAppendGroup(streams.map((id) => create(id, { workflowId: id, tenant }))));
    await append(client, toAppendGroup(streams.map((id) => command(id, 0))));
  }
  const commits = shards.map(({ client, streams }) => {
    const commands = Array.from({ length: group / variables }, (_, i) =>
      command(streams[i % streams.length] as string, 1),
    );
    const ready = toAppendGroup(commands);
    return async () => {
      const { opResults } = await append(client, ready);
      const refused = opResults.find(({ result }) => result !== "set");
      if (refused !== undefined) throw new Error(`append answered ${JSON.stringify(refused)}`);
    };
  });
  return {
    methods: { closedLoop: (seconds: number) => commitLoop(commits, group, seconds) },
    close: async () => {
      for (const { client } of shards) await client.end();
    },
  };
}
