/** A URL of NATS_URL, as the client takes it: it knows neither credentials nor `tls:` in an address. */
import type { ConnectionOptions } from "@nats-io/transport-node";

export interface NatsAddress {
  readonly host: string;
  readonly port: number;
  readonly options: ConnectionOptions;
}

/** nats://host, nats://user:password@host:port, nats://token@host; tls:// for TLS only. */
export function toAddress(text: string): NatsAddress {
  const url = new URL(text);
  const [user, pass] = [decodeURIComponent(url.username), decodeURIComponent(url.password)];
  const port = url.port === "" ? 4222 : Number(url.port);
  const options = {
    servers: `${url.hostname}:${port}`,
    // Absent: TLS where the server offers it.
    ...(url.protocol === "tls:" ? { tls: {} } : {}),
    ...(user === "" ? {} : pass === "" ? { token: user } : { user, pass }),
  };
  // Of an IPv6 address without its brackets.
  return { host: url.hostname.replace(/^\[(.*)\]$/, "$1"), port, options };
}
