/**
 * A server for tests, in this process, on a free port and a database of its own. `useServer` registers start and stop for
 * a test file; its teardown proves that nothing was left open and that the tables are consistent.
 */
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import pg from "pg";
import { afterAll, beforeAll, expect, inject } from "vitest";
import { findOrphans } from "../../db/statements/find-orphans.ts";
import { AdminService, Role } from "../../gen/tributary/v1/admin_service_pb.ts";
import { EventStreamService } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { MemoryService } from "../../gen/tributary/v1/memory_service_pb.ts";
import { TaskStreamService } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { TokenService } from "../../gen/tributary/v1/token_service_pb.ts";
import { VariableService } from "../../gen/tributary/v1/variable_service_pb.ts";
import { WorkflowService } from "../../gen/tributary/v1/workflow_service_pb.ts";
import { readConfig } from "../../server/config.ts";
import { type RunningServer, type SharedParts, startServer } from "../../server/main.ts";
import { createTestDatabase, type TestDatabase } from "./cluster.ts";
import { template } from "./global-setup.ts";
import { until } from "./until.ts";

export const adminKey = "the-admin-key-of-the-tests";

/** All clients of one credential. */
export interface Clients {
  readonly url: string;
  /** The certificate to trust, of a server with TLS. */
  readonly ca: string | undefined;
  readonly key: string;
  readonly workflows: Client<typeof WorkflowService>;
  readonly tasks: Client<typeof TaskStreamService>;
  readonly streams: Client<typeof EventStreamService>;
  readonly memory: Client<typeof MemoryService>;
  readonly tokens: Client<typeof TokenService>;
  readonly variables: Client<typeof VariableService>;
  readonly admin: Client<typeof AdminService>;
}

export interface TestServer {
  readonly url: string;
  readonly server: RunningServer;
  readonly database: TestDatabase;
  readonly pool: pg.Pool;
  /** Clients of the tenant `acme` with all roles. */
  readonly acme: Clients;
  /** Clients of another tenant. */
  readonly globex: Clients;
  /** Clients of the admin key. */
  readonly admin: Clients;
  clients(key: string): Clients;
  /** Stops the server and starts another one on the same port and database. */
  restart(): Promise<void>;
}

/** Connections of the clients to each server. */
const connections = new Map<string, Http2SessionManager[]>();

/** Closes the connections of all clients of a server, which else keep a server that stops waiting for late calls. */
export function disconnectClients(url: string): void {
  for (const connection of connections.get(url) ?? []) connection.abort();
  connections.delete(url);
}

export function createClients(url: string, key: string, ca?: string): Clients {
  const sessionManager = new Http2SessionManager(url, undefined, { ca });
  connections.set(url, [...(connections.get(url) ?? []), sessionManager]);
  const transport = createGrpcTransport({
    baseUrl: url,
    sessionManager,
    interceptors: [
      (next) => (request) => {
        request.header.set("authorization", `Bearer ${key}`);
        return next(request);
      },
    ],
  });
  const client = <S extends DescService>(service: S) => createClient(service, transport);
  return {
    url,
    ca,
    key,
    workflows: client(WorkflowService),
    tasks: client(TaskStreamService),
    streams: client(EventStreamService),
    memory: client(MemoryService),
    tokens: client(TokenService),
    variables: client(VariableService),
    admin: client(AdminService),
  };
}

/** Makes a tenant with one key of these roles and gives its clients. */
export async function createTenant(
  admin: Clients,
  slug: string,
  roles: Role[] = [Role.READ, Role.PUBLISH, Role.MANAGE],
): Promise<Clients> {
  await admin.admin.createTenant({ slug });
  const { key } = await admin.admin.createApiKey({ tenantSlug: slug, roles });
  return createClients(admin.url, key, admin.ca);
}

/** Gives access to the server from inside tests: it is there when they run. `ca` is what its clients trust, if it has TLS. */
export function useServer(
  env: Readonly<Record<string, string>> = {},
  ca?: string,
  shared: SharedParts = {},
): TestServer {
  let started: Omit<TestServer, "clients" | "restart"> & { server: RunningServer };

  beforeAll(async () => {
    const database = await createTestDatabase(inject("clusterUrl"), { template });
    const server = await start(database.url, "0", env, shared);
    const admin = createClients(server.url, adminKey, ca);
    const [acme, globex] = await Promise.all([createTenant(admin, "acme"), createTenant(admin, "globex")]);
    const pool = new pg.Pool({ connectionString: database.url, max: 4 });
    pool.on("error", () => {}); // tests end its connections on purpose
    started = { url: server.url, server, database, pool, acme, globex, admin };
  });

  afterAll(async () => {
    if (started === undefined) return;
    await until(() =>
      expect(started.server.gauges()).toEqual({ openCalls: 0, liveStreams: 0, waitingCommands: 0 }),
    );
    disconnectClients(started.url);
    expect(await findOrphans(started.pool)).toEqual([]); // meanwhile the server hears that they have gone
    await started.server.close();
    await started.pool.end();
    // The database stays until the cluster goes: to drop one takes a checkpoint, up to a second of all tests' disk.
  });

  return {
    get url() {
      return started.url;
    },
    get server() {
      return started.server;
    },
    get database() {
      return started.database;
    },
    get pool() {
      return started.pool;
    },
    get acme() {
      return started.acme;
    },
    get globex() {
      return started.globex;
    },
    get admin() {
      return started.admin;
    },
    clients: (key) => createClients(started.url, key, ca),
    async restart() {
      const { port } = new URL(started.url);
      // Whoever has a call open sees how a server stops; without one there is nothing to see, and nothing to wait for.
      if (started.server.gauges().openCalls === 0) disconnectClients(started.url);
      await started.server.close();
      started.server = await start(started.database.url, port, env, shared);
    },
  };
}

function start(
  databaseUrl: string,
  port: string,
  env: Readonly<Record<string, string>>,
  shared: SharedParts,
): Promise<RunningServer> {
  return startServer(
    readConfig({
      DATABASE_URL: databaseUrl,
      PORT: port,
      TRIBUTARY_ADMIN_KEY: adminKey,
      LOG_LEVEL: "error",
      POOL_SIZE: "5",
      DRAIN_TIMEOUT_MS: "5000",
      ...env,
    }),
    shared,
  );
}
