/** A URL of NATS_URL, as the client takes it: it knows neither credentials nor `tls:` in an address. */
import type { ConnectionOptions } from "@nats-io/transport-node";

/** nats://host, nats://user:password@host:port, nats://token@host; tls:// for TLS only. */
export function toAddress(text: string): ConnectionOptions {
  const url = new URL(text);
  const [user, pass] = [decodeURIComponent(url.username), decodeURIComponent(url.password)];
  return {
    servers: `${url.hostname}:${url.port || "4222"}`,
    // Absent: TLS where the server offers it.
    ...(url.protocol === "tls:" ? { tls: {} } : {}),
    ...(user === "" ? {} : pass === "" ? { token: user } : { user, pass }),
  };
}
