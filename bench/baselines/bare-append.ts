/** The function `append` alone: ready groups, called by a script. What the server adds to it is the difference. */
import { append } from "../../db/statements/append.ts";
import { toAppendGroup } from "../../server/store/append-group.ts";
import { anEvent, create, entries } from "../../test/support/commands.ts";
import { stampedText } from "../wire/stamp.ts";
import { type BareOptions, commitLoop, openShards, type Shard } from "./stream-shards.ts";

const tenant = "bench";

export async function open(options: BareOptions) {
  const shards = await openShards(options);
  for (const { client, streams } of shards) {
    for (const id of streams) await append(client, toAppendGroup([create(id, { workflowId: id, tenant })]));
  }
  const toGroup = ({ streams }: Shard) => {
    const event = (n: number) => {
      const workflowId = streams[n % streams.length] as string;
      return anEvent({ workflowId, payload: stampedText(n, options.payloadBytes) });
    };
    const events = Array.from({ length: options.group }, (_, n) => event(n));
    const commands = streams
      .map((id) => events.filter(({ workflowId }) => workflowId === id))
      .filter((own) => own.length > 0)
      .map((own) => entries(own[0]?.workflowId ?? "", own));
    return toAppendGroup(commands);
  };
  const commits = shards.map((shard) => {
    const group = toGroup(shard);
    return () => append(shard.client, group);
  });
  return {
    methods: { closedLoop: (seconds: number) => commitLoop(commits, options.group, seconds) },
    close: async () => {
      for (const { client } of shards) await client.end();
    },
  };
}
