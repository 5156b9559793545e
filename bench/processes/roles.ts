/** Everything that can run in a child process, by name. Loaded there alone, so that each process holds only what it is. */
export const roles = {
  "tributary server": () => import("./tributary-server.ts"),
  "nats server": () => import("./nats-server.ts"),
  "stock connect-node server": () => import("../baselines/stock-connect-server.ts"),
  "raw http2 server": () => import("../baselines/raw-http2-server.ts"),
  "raw http1 server": () => import("../baselines/raw-http1-server.ts"),
  "better-sse server": () => import("../baselines/better-sse-server.ts"),
  "socket.io server": () => import("../baselines/socket-io-server.ts"),
  "redis server": () => import("./redis-server.ts"),
  "redis publisher": () => import("../load/redis-publisher.ts"),
  publisher: () => import("../load/publisher.ts"),
  "session publisher": () => import("../load/session-publisher.ts"),
  reader: () => import("../load/reader.ts"),
  "sdk producers": () => import("../load/sdk-producers.ts"),
  "sdk readers": () => import("../load/sdk-readers.ts"),
  "variable watcher": () => import("../load/variable-watcher.ts"),
  "connect reader": () => import("../load/connect-reader.ts"),
  "bare append": () => import("../baselines/bare-append.ts"),
  "bare variables": () => import("../baselines/bare-variables.ts"),
  "bare insert": () => import("../baselines/bare-insert.ts"),
  "bare select": () => import("../baselines/bare-select.ts"),
} as const;

export type RoleName = keyof typeof roles;
type Open<R extends RoleName> = Awaited<ReturnType<(typeof roles)[R]>>["open"];
export type OptionsOf<R extends RoleName> = Parameters<Open<R>>[0];
export type MethodsOf<R extends RoleName> = Awaited<ReturnType<Open<R>>>["methods"];
