/**
 * The connection to NATS: made for ever, one server after the other, with growing waits and jitter; looked after while it
 * is there. Owner of everything that can be wrong with it (`trouble`).
 *
 * The client's own reconnecting is off. It could not be stopped before the first connection, gives up after two refused
 * logins, and keeps what is published meanwhile without a bound; here the first connection and each later one are the
 * same, and what cannot be sent is dropped and counted.
 */
import { connect, type Msg, type NatsConnection, type Subscription } from "@nats-io/transport-node";
import type { Clock } from "../core/clock.ts";
import { toAddress } from "./nats-address.ts";
import { assertGreets } from "./nats-greeting.ts";
import { RoundTrips } from "./round-trips.ts";

export interface NatsLinkOptions {
  /** nats:// or tls:// URLs, tried in turn. */
  readonly urls: readonly string[];
  /** What the servers' monitoring shows. */
  readonly name: string;
}

export interface NatsLinkDeps {
  readonly clock: Clock;
  /** 0 ≤ n < 1; for jitter. */
  readonly random: () => number;
  /** A new connection: subscribe again. */
  readonly onUp: (connection: NatsConnection) => void;
  /** `trouble` says something else. */
  readonly onTrouble: () => void;
}

/** Longest wait for a server to greet, ms. */
const connectTimeoutMs = 2000;
/** Waits between tries, ms: doubling, with jitter. */
const backoffMs = { first: 100, most: 5000 };
/** A look at the connection each so many ms; an answer that takes longer is trouble, one that takes the longest its end. */
const probe = { everyMs: 1000, slowMs: 2000, longestMs: 10_000 };
/** Bytes on their way from which on messages are dropped, and when that ends. */
export const mostUnconfirmedBytes = 8 * 1024 * 1024;
/** A close waits so long for what was said last, ms. */
const lastWordsMs = 500;

interface Live {
  readonly connection: NatsConnection;
  readonly trips: RoundTrips;
  /** Ends the connection, for this reason. */
  end(reason: string): void;
}

export class NatsLink {
  readonly #options: NatsLinkOptions;
  readonly #deps: NatsLinkDeps;
  #live: Live | undefined;
  #closed = false;
  readonly #wake = Promise.withResolvers<void>();
  readonly #firstTry = Promise.withResolvers<void>();
  readonly #running: Promise<void>;
  /** Why there is no connection. */
  #away: string | undefined = "not connected yet";
  #silent = false;
  #full = false;
  /** What the server does not allow. */
  #forbidden: string | undefined;
  /** Messages that were not sent. */
  dropped = 0;
  #told: string | undefined;

  constructor(options: NatsLinkOptions, deps: NatsLinkDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#running = this.#run();
  }

  /** Resolves after the first try, whatever came of it. */
  get tried(): Promise<void> {
    return this.#firstTry.promise;
  }

  get trouble(): string | undefined {
    if (this.#away !== undefined) return `NATS is away: ${this.#away}`;
    if (this.#forbidden !== undefined) return `NATS: ${this.#forbidden}`;
    if (this.#silent) return "NATS does not answer";
    return this.#full ? "NATS takes less than there is to say; notices are dropped" : undefined;
  }

  /** Bytes that a message may have; 0 while there is no connection. */
  get mostBytes(): number {
    return this.#live?.connection.info?.max_payload ?? 0;
  }

  /** Bytes on their way. */
  get unconfirmedBytes(): number {
    return this.#live?.trips.unconfirmedBytes ?? 0;
  }

  /** Sends, or drops and counts. */
  send(subject: string, message: Uint8Array): void {
    const live = this.#live;
    if (live !== undefined && !this.#isFull(live)) {
      try {
        live.connection.publish(subject, message);
        live.trips.sent(subject.length + message.length);
        return;
      } catch {
        // Closed just now, or too large for this server: as lost as any other.
      }
    }
    this.dropped++;
  }

  /** undefined: there is no connection to subscribe on; `onUp` brings one. */
  subscribe(subject: string, onMessage: (bytes: Uint8Array) => void): Subscription | undefined {
    if (this.#live === undefined) return undefined;
    try {
      return this.#live.connection.subscribe(subject, {
        callback: (error: Error | null, message: Msg) => {
          if (error === null) onMessage(message.data);
          else this.#forbid(error);
        },
      });
    } catch {
      return undefined; // closed just now
    }
  }

  /** Has everything that was said so far arrived? false: it is not known, and `onUp` may begin anew. */
  confirmed(): Promise<boolean> {
    return this.#live?.trips.confirmed() ?? Promise.resolve(false);
  }

  async close(): Promise<void> {
    if (!this.#closed) {
      await Promise.race([this.confirmed(), this.#after(lastWordsMs)]);
      this.#closed = true;
      this.#wake.resolve();
      await this.#live?.connection.close();
    }
    await this.#running;
  }

  async #run(): Promise<void> {
    const { urls } = this.#options;
    // Instances begin at different servers.
    const first = Math.floor(this.#deps.random() * urls.length);
    let failures = 0;
    for (let turn = first; !this.#closed; turn++) {
      const url = urls[turn % urls.length] as string;
      try {
        const connection = await this.#connect(url);
        if (await this.#stay(connection)) failures = 0;
      } catch (error) {
        this.#setAway(toReason(error));
      }
      this.#firstTry.resolve();
      // All servers are tried before a wait.
      failures++;
      if (failures % urls.length !== 0) continue;
      const round = Math.min(10, failures / urls.length - 1);
      const wait = Math.min(backoffMs.most, backoffMs.first * 2 ** round);
      await Promise.race([this.#after(wait * (0.5 + this.#deps.random() / 2)), this.#wake.promise]);
    }
  }

  async #connect(url: string): Promise<NatsConnection> {
    const { host, port, options } = toAddress(url);
    await assertGreets(host, port, connectTimeoutMs);
    return connect({
      ...options,
      name: this.#options.name,
      reconnect: false,
      timeout: connectTimeoutMs,
      // Own listeners are told directly.
      noEcho: true,
      noAsyncTraces: true,
    });
  }

  /** Until the connection ends. Did it ever work? */
  async #stay(connection: NatsConnection): Promise<boolean> {
    const { clock } = this.#deps;
    if (this.#closed) {
      await connection.close();
      return false;
    }
    const trips = new RoundTrips(() => connection.flush(), clock);
    let reason = "the connection was closed";
    const end = (why: string) => {
      reason = why;
      void connection.close();
    };
    const live = { connection, trips, end };
    this.#live = live;
    this.#away = undefined;
    this.#forbidden = undefined;
    let worked = false;
    void trips.confirmed().then((ok) => {
      worked = ok;
    });
    void this.#watch(connection);
    const stopProbing = this.#probe(live);
    this.#deps.onUp(connection);
    this.#tell();
    this.#firstTry.resolve();
    const error = await connection.closed();
    stopProbing();
    this.#live = undefined;
    trips.end();
    this.#silent = false;
    this.#full = false;
    this.#setAway(error instanceof Error ? toReason(error) : reason);
    return worked;
  }

  /** What the server complains of. Its other messages change nothing that the end of the connection does not. */
  async #watch(connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      if (status.type === "error") this.#forbid(status.error);
    }
  }

  /** Looks at the connection again and again: an idle one would not notice that its server fell silent. */
  #probe(live: Live): () => void {
    const { clock } = this.#deps;
    let cancel = () => {};
    const look = () => {
      void live.trips.confirmed();
      const { openMs } = live.trips;
      this.#silent = openMs >= probe.slowMs;
      this.#isFull(live);
      this.#tell();
      if (openMs >= probe.longestMs) live.end("it did not answer");
      else cancel = clock.after(probe.everyMs, look);
    };
    cancel = clock.after(probe.everyMs, look);
    return () => cancel();
  }

  /** Ends at half, so that it does not flicker. */
  #isFull({ trips }: Live): boolean {
    const before = this.#full;
    this.#full = trips.unconfirmedBytes >= (before ? mostUnconfirmedBytes / 2 : mostUnconfirmedBytes);
    if (this.#full && !before) this.#tell();
    return this.#full;
  }

  #forbid(error: Error): void {
    this.#forbidden = toReason(error);
    this.#tell();
  }

  #setAway(reason: string): void {
    this.#away = reason;
    this.#tell();
  }

  #tell(): void {
    const { trouble } = this;
    if (trouble === this.#told || this.#closed) return;
    this.#told = trouble;
    this.#deps.onTrouble();
  }

  #after(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#deps.clock.after(ms, resolve);
    });
  }
}

/** For people. Messages name servers and subjects; credentials are in no address that the client or a socket sees. */
function toReason(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(toReason).join(", ");
  const { message, cause } = error as Error;
  return cause instanceof Error && cause.message !== "" && cause.message !== message
    ? `${message}: ${cause.message}`
    : message || "it cannot be reached";
}
