/**
 * Bus between instances: NATS core publish and subscribe. One subject for each stream and each topic, one subscription
 * for each that has listeners here, however many they are, confirmed by a round trip.
 *
 * What this instance says reaches its own listeners at once and not by NATS (which does not echo it): readers of what is
 * published here lose nothing while NATS is away, and see no doubles. What others say may be lost, late or doubled, as
 * the port allows. Nothing waits for NATS but a new subscription, that for a second at most; and only so much is held
 * for it: from 4 MiB on their way notices go without their entries, from 8 MiB on not at all.
 */
import type { Clock } from "../core/clock.ts";
import type { Bus, Notice, SignalBody } from "../core/ports.ts";
import { Listeners } from "./listeners.ts";
import { mostUnconfirmedBytes, NatsLink } from "./nats-link.ts";
import { fromBytes, toBytes } from "./notice-bytes.ts";
import { toSignalText } from "./signal-text.ts";
import { Subjects } from "./subjects.ts";

export interface NatsBusOptions {
  /** nats:// or tls:// URLs of the servers of one cluster. */
  readonly urls: readonly string[];
  /** First words of all subjects: deployments with different ones do not hear each other. */
  readonly prefix: string;
  readonly name: string;
}

export interface NatsBusDeps {
  readonly clock: Clock;
  readonly random: () => number;
}

/** Notices go without entries while so many bytes are on their way. */
const crowdedBytes = mostUnconfirmedBytes / 2;

/** Resolves when NATS is there, or could not be reached at once; then it is tried for ever. */
export async function createNatsBus(options: NatsBusOptions, deps: NatsBusDeps): Promise<Bus> {
  const notices = new Listeners<Notice>();
  const signals = new Listeners<string>();
  const changes = new Listeners<undefined>();
  const restorations = new Listeners<undefined>();
  const link: NatsLink = new NatsLink(options, {
    ...deps,
    onUp: () => subjects.renew(),
    onTrouble: () => changes.tell("", undefined),
  });
  const subjects = new Subjects(link, {
    clock: deps.clock,
    onRestored: () => restorations.tell("", undefined),
  });
  const streamSubject = (streamId: string) => `${options.prefix}.stream.${streamId}`;
  const topicSubject = (topic: string) => `${options.prefix}.signal.${topic}`;
  await link.tried;

  return {
    publish(notice) {
      notices.tell(notice.streamId, notice);
      const isBare = link.mostBytes === 0 || link.unconfirmedBytes >= crowdedBytes;
      const said = isBare ? { ...notice, entries: undefined } : notice;
      for (const message of toBytes(said, link.mostBytes)) link.send(streamSubject(notice.streamId), message);
    },
    async subscribe(streamId, listener) {
      const stop = notices.add(streamId, listener);
      const release = await subjects.acquire(streamSubject(streamId), (bytes) => {
        const notice = fromBytes(streamId, bytes);
        if (notice !== undefined) notices.tell(streamId, notice);
      });
      return () => {
        stop();
        release();
      };
    },
    signal(topic, body) {
      const text = toSignalText(topic, body);
      signals.tell(topic, text);
      link.send(topicSubject(topic), Buffer.from(text));
    },
    async onSignal(topic, listener) {
      const stop = signals.add(topic, (text) => listener(JSON.parse(text) as SignalBody));
      const release = await subjects.acquire(topicSubject(topic), (bytes) => {
        const text = toJsonText(bytes);
        if (text !== undefined) signals.tell(topic, text);
      });
      return () => {
        stop();
        release();
      };
    },
    degraded: () => {
      const { trouble, dropped } = link;
      return trouble === undefined || dropped === 0
        ? trouble
        : `${trouble} (${dropped} not sent since the start)`;
    },
    dropped: () => link.dropped,
    onChange: (listener) => changes.add("", listener),
    onRestored: (listener) => restorations.add("", listener),
    async close() {
      notices.clear();
      signals.clear();
      changes.clear();
      restorations.clear();
      await link.close();
    },
  };
}

/** undefined: not JSON. */
function toJsonText(bytes: Uint8Array): string | undefined {
  try {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
    JSON.parse(text);
    return text;
  } catch {
    return undefined;
  }
}
