/** Unary answers are bounded by bytes as well, and a page that is cut goes on with the next. */
import { toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import {
  GetWorkflowTreeResponseSchema,
  ListWorkflowsResponseSchema,
} from "../../gen/tributary/v1/workflow_service_pb.ts";
import { useServer } from "../support/server.ts";

const server = useServer();
const MiB = 1024 * 1024;

test("pages of workflows with large metadata close at about 1 MiB and miss nothing", async () => {
  const { workflows } = server.acme;
  const root = (await workflows.createWorkflow({ name: "root" })).workflow?.workflowId ?? "";
  const made = await Promise.all(
    Array.from({ length: 150 }, async (_, i) => {
      const metadata = { large: "x".repeat(16_000) };
      const { workflow } = await workflows.createWorkflow({
        name: `child ${i}`,
        parentWorkflowId: root,
        metadata,
      });
      return workflow?.workflowId ?? "";
    }),
  );
  const listed: string[] = [];
  const inTree: string[] = [];
  let pageToken = "";
  do {
    const page = await workflows.listWorkflows({ parentWorkflowId: root, pageSize: 1000, pageToken });
    expect(toBinary(ListWorkflowsResponseSchema, page).byteLength).toBeLessThan(1.1 * MiB);
    listed.push(...page.workflows.map((workflow) => workflow.workflowId));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  do {
    const page = await workflows.getWorkflowTree({ workflowId: root, pageSize: 1000, pageToken });
    expect(toBinary(GetWorkflowTreeResponseSchema, page).byteLength).toBeLessThan(1.1 * MiB);
    inTree.push(...page.workflows.map((workflow) => workflow.workflowId));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  expect(listed.toSorted()).toEqual(made.toSorted());
  expect(inTree.toSorted()).toEqual([root, ...made].toSorted());
});

test("a reason that is too long is refused, so that no reader has to carry it", async () => {
  const { workflow } = await server.acme.workflows.createWorkflow({ name: "short reasons" });
  const workflowId = workflow?.workflowId ?? "";
  const cancel = (reason: string) => server.acme.workflows.requestCancel({ workflowId, reason });
  await expect(cancel("x".repeat(4097))).rejects.toMatchObject({ code: Code.InvalidArgument });
  expect((await cancel("x".repeat(4096))).workflow?.cancelRequestedMs).toBeGreaterThan(0n);
});
