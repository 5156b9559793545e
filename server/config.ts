/**
 * The settings: read from the environment once, checked, and nothing else reads it. A bad value stops the start with its
 * name, what is allowed, and what was found (of secrets only the length).
 */
import { isIP } from "node:net";
import * as z from "zod";

const port = z.coerce.number().int().min(0).max(65_535);
const list = z.string().transform((text) =>
  text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== ""),
);

function isPercentEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

function isNatsUrl(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || !["nats:", "tls:"].includes(url.protocol)) return false;
  if (!isPercentEncoded(url.username) || !isPercentEncoded(url.password)) return false;
  return url.hostname !== "" && ["", "/"].includes(url.pathname) && url.search === "" && url.hash === "";
}

function isHttpUrl(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && ["http:", "https:"].includes(url.protocol) && url.search === "" && url.hash === "";
}

/** As OpenTelemetry writes them: a list of name=value, percent-encoded. */
function toHeaders(text: string, context: z.RefinementCtx): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  for (const part of text.split(",")) {
    if (part.trim() === "") continue;
    const [, name, value = ""] = /^\s*([\w!#$%&'*+.^`|~-]+)\s*=\s*([^\s]*)\s*$/.exec(part) ?? [];
    const decoded = isPercentEncoded(value) ? decodeURIComponent(value) : "";
    if (name === undefined || !/^[\x20-\x7e]+$/.test(decoded)) {
      context.addIssue("not a list of name=value");
      return z.NEVER;
    }
    headers[name.toLowerCase()] = decoded;
  }
  return headers;
}
/** As browsers send them: who writes "https://app.example.com/" would wonder why nothing is allowed. */
const isOrigin = (text: string) => text === "*" || URL.parse(text)?.origin === text;

/** Each setting with what is allowed, for the message of a bad value and for `tributary serve --help`. */
export const settings = {
  PORT: { schema: port.default(8080), allowed: "0–65535; 0: any free one", about: "Port to listen on." },
  HOST: {
    schema: z.string().min(1).default("127.0.0.1"),
    allowed: "an address of this machine",
    about: "Address to listen on.",
  },
  TLS_CERT: {
    schema: z.string().min(1).optional(),
    allowed: "a PEM file",
    about:
      "File with the certificate, followed by those that signed it: the port then speaks TLS only. Read again when it changes.",
  },
  TLS_KEY: {
    schema: z.string().min(1).optional(),
    allowed: "a PEM file",
    about: "File with the private key of TLS_CERT.",
  },
  DATABASE_URL: {
    schema: z
      .string()
      .regex(/^postgres(ql)?:\/\//)
      .optional(),
    allowed: "postgres://user:password@host:port/database",
    about: "Postgres 15 or newer. Absent: an embedded Postgres in DATA_DIR.",
    secret: true,
  },
  DATA_DIR: {
    schema: z.string().min(1).default(".data"),
    allowed: "a folder that can be written",
    about: "Folder of the embedded Postgres.",
  },
  NATS_URL: {
    schema: list.refine((urls) => urls.length > 0 && urls.every(isNatsUrl)).optional(),
    allowed:
      "nats://user:password@host:port (or tls://…, or nats://token@…; percent-encoded), several of one cluster with commas",
    about:
      "NATS, by which instances over one database tell each other what is new. Absent: in memory, for a single instance.",
    secret: true,
  },
  NATS_PREFIX: {
    schema: z
      .string()
      .regex(/^[\w-]+(\.[\w-]+)*$/)
      .max(100)
      .default("tributary"),
    allowed: "words of A-Z a-z 0-9 _ - with dots between",
    about: "First words of all subjects on NATS. Deployments that share a NATS need different ones.",
  },
  TRIBUTARY_ADMIN_KEY: {
    schema: z.string().min(1).optional(),
    allowed: "a long random text",
    about: "Key for administration. Absent: development mode, on loopback addresses only.",
    secret: true,
  },
  TRIBUTARY_DEV_KEY: {
    schema: z.string().min(1).optional(),
    allowed: "any text",
    about: "Development mode: the key of the tenant `dev`. Absent: a random one, printed at the start.",
    secret: true,
  },
  MAX_CONNECTIONS: {
    schema: z.coerce.number().int().min(1).max(1_000_000).default(10_000),
    allowed: "1–1000000",
    about:
      "Connections at once; more are refused. The process needs a few more file descriptors (ulimit -n).",
  },
  CORS_ORIGINS: {
    schema: list.refine((origins) => origins.every(isOrigin)).default([]),
    allowed: "origins separated by commas, like https://app.example.com; * for any",
    about: "Web pages that may call this server. Absent: none (in development mode those on this machine).",
  },
  LOG_LEVEL: {
    schema: z.enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"]).default("info"),
    allowed: "trace, debug, info, warn, error, fatal, silent",
    about: "Least important messages to log (JSON lines on stderr).",
  },
  SLOW_COMMIT_MS: {
    schema: z.coerce.number().int().min(1).max(600_000).default(1000),
    allowed: "1–600000",
    about: "Group commits that take longer are warned of in the log, ms.",
  },
  FAR_BEHIND_EVENTS: {
    schema: z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER).default(100_000),
    allowed: "1 or more",
    about: "Readers that are so many events behind for ten seconds are warned of in the log.",
  },
  OTEL_EXPORTER_OTLP_ENDPOINT: {
    schema: z.string().refine(isHttpUrl).optional(),
    allowed: "http://host:port or https://host:port, perhaps with a path; /v1/traces is added",
    about: "Receiver of traces, by OTLP over HTTP with protobuf. Absent: no tracing.",
    secret: true,
  },
  OTEL_EXPORTER_OTLP_HEADERS: {
    schema: z.string().transform(toHeaders).optional(),
    allowed: "name=value, several with commas, values percent-encoded",
    about: "Headers for the receiver of traces, such as its credential.",
    secret: true,
  },
  OTEL_SERVICE_NAME: {
    schema: z.string().min(1).max(255).default("tributary"),
    allowed: "1–255 characters",
    about: "Name of this service in traces.",
  },
  OTEL_TRACES_SAMPLER_ARG: {
    schema: z.coerce.number().min(0).max(1).default(1),
    allowed: "0–1",
    about: "Part of the traces begun here that is sampled. Those that callers began are sampled as they say.",
  },
  COMMIT_CONNECTIONS: {
    schema: z.coerce.number().int().min(1).max(64).default(4),
    allowed: "1–64",
    about:
      "Commits that may go on at the same time, each on a connection of its own. A second one begins when a whole group waits, or when one takes long.",
  },
  POOL_SIZE: {
    schema: z.coerce.number().int().min(2).max(500).default(10),
    allowed: "2–500",
    about: "Connections for reading: half of them for pages of history, the others for all else.",
  },
  RETENTION_INTERVAL_MS: {
    schema: z.coerce.number().int().min(100).max(3_600_000).default(5000),
    allowed: "100–3600000",
    about: "Pause between two looks for what retention is to remove, ms.",
  },
  DRAIN_TIMEOUT_MS: {
    schema: z.coerce.number().int().min(0).max(600_000).default(30_000),
    allowed: "0–600000",
    about: "Longest time a stop may take, ms.",
  },
} as const satisfies Record<string, { schema: z.ZodType; allowed: string; about: string; secret?: true }>;

type Settings = { readonly [K in keyof typeof settings]: z.output<(typeof settings)[K]["schema"]> };

export interface Config extends Settings {
  /** No admin key: on this machine only, with a tenant and a key ready. */
  readonly developmentMode: boolean;
}

/** In the data folder: the key of the tenant `dev`. */
export const devKeyFile = "dev-key";

/** A setting that cannot be used. The message names it, what is allowed, and what was found. */
export class BadSetting extends Error {}

export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const values: Record<string, unknown> = {};
  for (const [name, { schema, allowed, ...rest }] of Object.entries(settings)) {
    // An empty variable is how compose files and shells leave one out.
    const text = env[name] === "" ? undefined : env[name];
    const parsed = schema.safeParse(text);
    if (!parsed.success) {
      const found = "secret" in rest ? `${text?.length ?? 0} characters` : JSON.stringify(text);
      throw new BadSetting(`${name}: must be ${allowed}; found ${found}`);
    }
    values[name] = parsed.data;
  }
  const config = { ...values, developmentMode: values["TRIBUTARY_ADMIN_KEY"] === undefined } as Config;
  if (config.developmentMode && !isLoopback(config.HOST)) {
    throw new BadSetting(
      `HOST: ${JSON.stringify(config.HOST)} can be reached from other machines, which needs TRIBUTARY_ADMIN_KEY; set that, or listen on 127.0.0.1`,
    );
  }
  if ((config.TLS_CERT === undefined) !== (config.TLS_KEY === undefined)) {
    const missing = config.TLS_CERT === undefined ? "TLS_CERT" : "TLS_KEY";
    throw new BadSetting(`${missing}: missing; TLS needs both TLS_CERT and TLS_KEY`);
  }
  return config;
}

/** Names and addresses that cannot be reached from another machine. */
export function isLoopback(host: string): boolean {
  if (host === "localhost" || host === "::1" || host === "[::1]") return true;
  return isIP(host) === 4 && host.startsWith("127.");
}
