/**
 * The keys that sign stream tokens, as this instance knows them. The newest signs; a token of any key that is in the database
 * verifies, also of one that another instance made a moment ago: an unknown key is looked for in a read that began after it was
 * asked for. Such reads are shared and spaced, so forged key ids cost the database four small reads a second at most, and
 * their senders a wait. A deleted key is believed for at most 5 s, and as soon as its rotation is heard of no longer.
 */
import type { Clock } from "../core/clock.ts";
import type { CredentialStore, SigningKey } from "./credential-store.ts";

/** How long keys are kept before they are read again, ms. */
const keysCacheMs = 5000;
/** Shortest time between two reads, ms. */
const spacingMs = 250;
/** More keys than this are not kept; who rotates so often within an hour is told to wait. */
export const mostSigningKeys = 32;
/**
 * A key that was replaced is deleted after this, ms: the hour of its last token, and a minute for instances that had not heard
 * of the new key when they signed that one.
 */
export const keepReplacedMs = 3_660_000;
const cleanIntervalMs = 60_000;

export interface SigningKeysDeps {
  readonly store: Pick<CredentialStore, "signingKeys" | "deleteReplacedSigningKeys">;
  readonly clock: Clock;
}

export class SigningKeys {
  readonly #deps: SigningKeysDeps;
  #keys: readonly SigningKey[] = [];
  /** When the read began that found them. */
  #asOfMs = Number.NEGATIVE_INFINITY;
  /** When the last read began. */
  #begunMs = Number.NEGATIVE_INFINITY;
  /** The read under way, and the one after it, for those who come later. */
  #current: Promise<unknown> = Promise.resolve();
  #next: Promise<readonly SigningKey[]> | undefined;

  constructor(deps: SigningKeysDeps) {
    this.#deps = deps;
  }

  async newest(): Promise<SigningKey> {
    const [newest] = await this.#known();
    if (newest === undefined) throw new Error("there is no signing key");
    return newest;
  }

  async find(signingKeyId: string): Promise<SigningKey | undefined> {
    const among = (keys: readonly SigningKey[]) => keys.find((key) => key.signingKeyId === signingKeyId);
    return among(await this.#known()) ?? among(await this.readAnew());
  }

  /** Those of these that are no longer valid, as the database says now. */
  async findRetired(signingKeyIds: ReadonlySet<string>): Promise<ReadonlySet<string>> {
    if (signingKeyIds.size === 0) return signingKeyIds;
    const keys = await this.readAnew();
    return signingKeyIds.difference(new Set(keys.map((key) => key.signingKeyId)));
  }

  /** What a read finds that begins no earlier than now. */
  readAnew(): Promise<readonly SigningKey[]> {
    this.#next ??= this.#readNext();
    return this.#next;
  }

  #known(): Promise<readonly SigningKey[]> | readonly SigningKey[] {
    return this.#deps.clock.now() < this.#asOfMs + keysCacheMs ? this.#keys : this.readAnew();
  }

  async #readNext(): Promise<readonly SigningKey[]> {
    const { clock, store } = this.#deps;
    await this.#current;
    const early = this.#begunMs + spacingMs - clock.now();
    if (early > 0) await new Promise<void>((resolve) => clock.after(early, resolve));
    this.#next = undefined;
    const asOfMs = clock.now();
    this.#begunMs = asOfMs;
    const reading = store.signingKeys();
    this.#current = reading.catch(() => {}); // who asked hears of it
    const keys = await reading;
    this.#keys = keys;
    this.#asOfMs = asOfMs;
    return keys;
  }
}

/** Deletes what was replaced long enough ago, from now on each minute; every instance does it. Returns how to stop. */
export function startSigningKeyCleaning(
  { store, clock }: SigningKeysDeps,
  onFailure: (message: string, error: Error) => void,
): () => void {
  let stopped = false;
  let cancel = () => {};
  const clean = () => {
    store
      .deleteReplacedSigningKeys(keepReplacedMs)
      .catch((error: Error) => onFailure("deleting replaced signing keys failed; it is tried again", error))
      .finally(() => {
        if (!stopped) cancel = clock.after(cleanIntervalMs, clean);
      });
  };
  clean();
  return () => {
    stopped = true;
    cancel();
  };
}
