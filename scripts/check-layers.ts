/**
 * Who may import whom: the architecture as a list. `server/core` knows neither Postgres nor HTTP nor protobuf; only
 * `server/main.ts`, with `server/start`, knows everything in server and db. Run by `npm run check`.
 */
import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

/** Part → the parts it may import. A file belongs to the first part that its path begins with. */
const layers: readonly (readonly [part: string, ...mayImport: string[]])[] = [
  ["gen"],
  ["db"],
  ["server/core"],
  ["server/config.ts"],
  ["server/auth", "server/core"],
  ["server/store", "server/core", "server/auth", "db"],
  ["server/bus", "server/core"],
  ["server/rpc", "gen", "server/core", "server/auth", "server/store/store-errors.ts"],
  [
    "server/http",
    "server/core",
    "server/auth",
    "server/config.ts",
    "server/rpc/error-mapping.ts",
    "server/rpc/grpc-message.ts",
    "server/rpc/response-sink.ts",
  ],
  ["server/metrics", "server/core"],
  ["server/tracing", "server/core"],
  ["server/log", "server/core"],
  // What main.ts is made of.
  ["server/start", "server", "db"],
  ["server/main.ts", "server", "db"],
  ["client", "gen"],
  // A page like any other: it knows the API and the SDK.
  ["web", "gen", "client"],
  // Of the server only what starts it: the commands serve, demo and migrate.
  [
    "cli",
    "gen",
    "client",
    "server/main.ts",
    "server/config.ts",
    "db/migrate.ts",
    "db/restored.ts",
    "db/embedded",
    "package.json",
  ],
  ["test", ""],
  ["bench", ""],
  ["examples", ""],
  ["scripts", ""],
];

/** Packages that core must not know. The one with regular expressions only shares its publisher with protobuf. */
const foreignToCore =
  /^(pg|drizzle-orm|@connectrpc\/|@bufbuild\/(?!re2$)|node:http|node:net|@nats-io\/|prom-client$|pino$|@opentelemetry\/)/;

const problems: string[] = [];
for (const file of globSync("{gen,db,server,client,web,cli,test,bench,examples,scripts}/**/*.{ts,tsx}")) {
  const layer = layers.find(([part]) => file === part || file.startsWith(`${part}/`));
  if (layer === undefined) {
    problems.push(`${file}: belongs to no layer; name its part in scripts/check-layers.ts`);
    continue;
  }
  const [part, ...mayImport] = layer;
  for (const [, specifier = ""] of readFileSync(file, "utf8").matchAll(
    /(?:from|import)\s*\(?\s*"([^"]+)"/g,
  )) {
    if (!specifier.startsWith(".")) {
      if (part === "server/core" && foreignToCore.test(specifier))
        problems.push(`${file}: core must not know ${specifier}`);
      continue;
    }
    const target = normalize(join(dirname(file), specifier));
    const allowed = [part, ...mayImport].some(
      (may) => may === "" || target === may || target.startsWith(`${may}/`),
    );
    if (!allowed) problems.push(`${file}: ${part} must not import ${target}`);
  }
}

for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;
