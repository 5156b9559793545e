import { createTributaryClient, type EventSubscription } from "../../../client/browser.ts";

export function followTree(
  baseUrl: string,
  token: string,
  workflowId: string,
  shareCalls?: boolean,
): EventSubscription {
  return createTributaryClient({ baseUrl, credential: token, shareCalls }).followTree(workflowId);
}
