/**
 * The same from a terminal: for each view the calls that show what is on the screen. The credential is a variable of the shell,
 * unless somebody asked for the real one.
 */
export type Screen =
  | { readonly kind: "workflows" }
  | { readonly kind: "tree"; readonly workflowId: string; readonly afterOffset: number }
  | { readonly kind: "variables"; readonly workflowId: string }
  | { readonly kind: "recall"; readonly space: string; readonly text: string }
  | { readonly kind: "stats" };

export interface Place {
  readonly url: string;
  readonly tenant: string;
  /** As it stands between double quotes of a shell. */
  readonly credential: string;
}

export interface Command {
  readonly tool: "curl" | "buf curl" | "grpcurl" | "SDK";
  readonly text: string;
}

export const placeholder = "$TRIBUTARY_API_KEY";

interface Rpc {
  readonly method: string;
  readonly body: object;
  readonly sdk: string;
  /** Another address for plain curl; undefined: the RPC itself; none: only tools that know streams. */
  readonly curl?: string | "none";
}

export function toCommands(screen: Screen, { url, tenant, credential }: Place): readonly Command[] {
  const { method, body, sdk, curl } = rpcOf(screen, tenant);
  const header = `-H "Authorization: Bearer ${credential}"`;
  const json = quote(JSON.stringify(body));
  const { host, protocol } = new URL(url);
  const isPlain = protocol === "http:";
  const commands: Command[] = [
    {
      tool: "buf curl",
      text: `npx buf curl ${isPlain ? "--http2-prior-knowledge " : ""}--protocol grpc \\\n  ${header} -d ${json} \\\n  ${url}/${method}`,
    },
    {
      tool: "grpcurl",
      text: `grpcurl ${isPlain ? "-plaintext " : ""}\\\n  ${header} -d ${json} \\\n  ${withPort(host, isPlain)} ${method}`,
    },
    { tool: "SDK", text: `${connecting(url, credential)}\n${sdk}` },
  ];
  if (curl === "none") return commands;
  const plain =
    curl === undefined
      ? `curl ${header} -H "Content-Type: application/json" \\\n  -d ${json} \\\n  ${url}/${method}`
      : `curl -N ${header} \\\n  ${quote(url + curl)}`;
  return [{ tool: "curl", text: plain }, ...commands];
}

function rpcOf(screen: Screen, tenant: string): Rpc {
  switch (screen.kind) {
    case "workflows":
      return {
        method: "tributary.v1.WorkflowService/ListWorkflows",
        body: { rootsOnly: true },
        sdk: "const { workflows } = await client.workflows.listWorkflows({ rootsOnly: true });\nfor (const { name, status } of workflows) console.log(name, status);",
      };
    case "tree": {
      const { workflowId, afterOffset } = screen;
      const after = afterOffset > 0 ? `?after_offset=${afterOffset}` : "";
      const options = afterOffset > 0 ? { options: { afterOffset } } : {};
      const from = afterOffset > 0 ? `, { afterOffset: ${afterOffset} }` : "";
      return {
        method: "tributary.v1.EventStreamService/StreamWorkflowConsolidated",
        body: { workflowId, ...options },
        sdk: `for await (const event of client.followTree("${workflowId}"${from}).values()) {\n  console.log(event.offset, event.taskExecutionId, event.payload.value);\n}`,
        curl: `/api/tenants/${tenant}/stream/workflows/${workflowId}/consolidated${after}`,
      };
    }
    case "variables":
      return {
        method: "tributary.v1.VariableService/ListVariables",
        body: { workflowId: screen.workflowId },
        sdk: `for await (const update of client.watchVariables("${screen.workflowId}").values()) {\n  console.log(update.variable?.name, update.variable?.value);\n}`,
      };
    case "recall": {
      const { space, text } = screen;
      const cue = text === "" ? { timeRange: {} } : { text };
      const sdkCue = text === "" ? { case: "timeRange", value: {} } : { case: "text", value: text };
      return {
        method: "tributary.v1.MemoryService/RecallStream",
        body: { space, cue, follow: true },
        sdk: `const cue = ${JSON.stringify(sdkCue)} as const;\nfor await (const { observation, score } of client.recall({ space: "${space}", cue, follow: true }).values()) {\n  console.log(score, observation?.content);\n}`,
        curl: "none",
      };
    }
    case "stats":
      return {
        method: "tributary.v1.AdminService/GetStats",
        body: {},
        sdk: "console.log(await client.admin.getStats({})); // the client for Node",
      };
  }
}

const connecting = (url: string, credential: string): string => {
  const secret =
    credential === placeholder ? 'process.env["TRIBUTARY_API_KEY"] ?? ""' : JSON.stringify(credential);
  return `import { createTributaryClient } from "tributary/client";\n\nconst client = createTributaryClient({ baseUrl: "${url}", credential: ${secret} });`;
};

/** For a shell: nothing in it means anything. */
const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

const withPort = (host: string, isPlain: boolean): string =>
  host.includes(":") ? host : `${host}:${isPlain ? 80 : 443}`;
