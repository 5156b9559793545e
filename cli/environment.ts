/** The one place where the command line looks at the environment; the server's settings are passed on to its own reader. */
import { UsageFailure } from "./failure.ts";

type Variables = Readonly<Record<string, string | undefined>>;

export interface Environment {
  /** Of the server to talk to. Throws if TRIBUTARY_URL is no address. */
  readonly url: string;
  readonly apiKey: string | undefined;
  /** May output be coloured, on a terminal? */
  readonly colours: boolean;
  /** For server/config.ts. */
  readonly serverSettings: Variables;
}

const defaultPort = "8080";

export function readEnvironment(variables: Variables): Environment {
  // An empty variable is how compose files and shells leave one out.
  const given = (name: string) => variables[name] || undefined;
  return {
    get url() {
      return toUrl(given("TRIBUTARY_URL") ?? `http://127.0.0.1:${toPort(given("PORT"))}`);
    },
    apiKey: given("TRIBUTARY_API_KEY"),
    colours: given("NO_COLOR") === undefined && variables["TERM"] !== "dumb",
    serverSettings: variables,
  };
}

/** 0 lets a server choose, so it says nothing about where one is. */
const toPort = (port: string | undefined) => (port === undefined || port === "0" ? defaultPort : port);

function toUrl(text: string): string {
  const url = URL.parse(text);
  if (url !== null && (url.protocol === "http:" || url.protocol === "https:"))
    return url.href.replace(/\/$/, "");
  throw new UsageFailure(
    `TRIBUTARY_URL: ${JSON.stringify(text)} is not an address`,
    "Give one like http://127.0.0.1:8080.",
  );
}
