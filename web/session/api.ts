/** What the views call: the SDK, and the administration that the SDK for browsers leaves out. All on this page's own origin. */
import { type Client, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { createTributaryClient, type TributaryClient } from "../../client/browser.ts";
import { AdminService } from "../../gen/tributary/v1/admin_service_pb.ts";

export interface Api extends TributaryClient {
  readonly admin: Client<typeof AdminService>;
}

/** `credential` is asked before every call. */
export function createApi(credential: (why: { readonly refused: boolean }) => Promise<string>): Api {
  const baseUrl = location.origin;
  const client = createTributaryClient({ baseUrl, credential });
  const transport = createConnectTransport({
    baseUrl,
    useBinaryFormat: true,
    interceptors: [
      (next) => async (request) => {
        request.header.set("authorization", `Bearer ${await credential({ refused: false })}`);
        return next(request);
      },
    ],
  });
  return { ...client, admin: createClient(AdminService, transport) };
}
