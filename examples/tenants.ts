/** Makes a tenant and keys for it, as the admin. TRIBUTARY_API_KEY is the admin key. Run: `node examples/tenants.ts <slug>` */
import { Code, ConnectError, createTributaryClient, Role, RoleSchema } from "tributary/client";
import { client } from "./connect.ts";

const slug = process.argv[2] ?? "";
const baseUrl = process.env["TRIBUTARY_URL"] ?? "http://127.0.0.1:8080";

// region tenant
const { tenant } = await client.admin.createTenant({ slug, displayName: "Example Ltd" });
console.log("made", tenant?.displayName);

// The secret is in this answer and nowhere else: the server keeps a hash.
const worker = await client.admin.createApiKey({ tenantSlug: slug, displayName: "workers" }); // READ and PUBLISH
const manager = await client.admin.createApiKey({ tenantSlug: slug, roles: [Role.MANAGE] });
// endregion

// region keys
// A key with MANAGE administers the keys of its own tenant, and need not name it.
const asManager = createTributaryClient({ baseUrl, credential: manager.key });
const { apiKeys } = await asManager.admin.listApiKeys({});
for (const { displayName, roles } of apiKeys) {
  console.log(displayName || "(no name)", roles.map((role) => RoleSchema.value[role]?.localName).join(" "));
}

// Refused at once by the instance that was asked, within 5 s by others; its open calls end within 60 s.
await asManager.admin.revokeApiKey({ apiKeyId: worker.apiKeyId });
const asWorker = createTributaryClient({ baseUrl, credential: worker.key });
const refused = await asWorker.workflows.listWorkflows({}).catch((error) => ConnectError.from(error));
console.log("revoked:", refused instanceof ConnectError && Code[refused.code]);
// endregion

// region disable
// Keeps everything and refuses every key; `disabled: false` opens it again.
const changed = await client.admin.updateTenant({ slug, disabled: true });
console.log("disabled:", changed.tenant?.disabled);
// endregion
