/**
 * May a call be repeated when nobody knows whether the lost one was carried out? Reading may; so may what has the same effect
 * twice as once. What has not is repeated only if the server said that it did nothing.
 */
import { Code, type ConnectError } from "@connectrpc/connect";
import { isFromServer } from "./errors.ts";

type Request = Readonly<Record<string, unknown>>;
const given = (value: unknown) => value !== undefined && value !== "" && value !== 0n;

/** By the name of the RPC. Not listed: not. */
const repeatable: Readonly<Record<string, (request: Request) => boolean>> = {
  // The same content again gives the existing one.
  CreateWorkflow: ({ workflowId }) => given(workflowId),
  // The same status again changes nothing.
  CloseWorkflow: () => true,
  RequestCancel: () => true,
  CreateStreamToken: () => true,
  RevokeApiKey: () => true,
  UpdateTenant: () => true,
  UpdateMemorySpace: () => true,
  // Numbers of a producer rise: the second one is a duplicate.
  StreamTaskData: ({ producerId }) => given(producerId),
};

export function isRepeatable(method: string, request: Request): boolean {
  return /^(Get|List|Read)/.test(method) || repeatable[method]?.(request) === true;
}

/** The server said that it did nothing. */
export const didNothing = (error: ConnectError): boolean =>
  isFromServer(error) && error.code === Code.ResourceExhausted;
