/**
 * The subjects that this instance listens to: each is subscribed once, however many listeners it has, let go with the
 * last one, and subscribed again on each new connection.
 *
 * A new one is waited for until a round trip has confirmed it, but for a second at most: a reader must not wait for what
 * only makes it faster. One that was not confirmed in time, or was lost with its connection, is made up for later; when
 * none is left, `onRestored` is called once.
 */
import type { Subscription } from "@nats-io/transport-node";
import type { Clock } from "../core/clock.ts";
import type { NatsLink } from "./nats-link.ts";

export interface SubjectsDeps {
  readonly clock: Clock;
  /** All subjects are confirmed again after one was not. */
  readonly onRestored: () => void;
}

interface Subject {
  readonly onMessage: (bytes: Uint8Array) => void;
  users: number;
  subscription: Subscription | undefined;
  /** For who comes while it is under way. */
  confirmed: Promise<boolean>;
}

const longestWaitMs = 1000;

export class Subjects {
  readonly #link: Pick<NatsLink, "subscribe" | "confirmed">;
  readonly #deps: SubjectsDeps;
  readonly #subjects = new Map<string, Subject>();
  /** Something was not heard since the last `onRestored`. */
  #wasDeaf = false;
  /** The connection, counted: what an older one confirmed late says nothing. */
  #connection = 0;

  constructor(link: Pick<NatsLink, "subscribe" | "confirmed">, deps: SubjectsDeps) {
    this.#link = link;
    this.#deps = deps;
  }

  /** Listens to a subject. `onMessage` is that of the first who asks. Returns how to let go. */
  async acquire(name: string, onMessage: (bytes: Uint8Array) => void): Promise<() => void> {
    const subject = this.#subjects.get(name) ?? this.#open(name, onMessage);
    subject.users++;
    if (!(await this.#inTime(subject.confirmed))) this.#wasDeaf = true;
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#leave(name, subject);
    };
  }

  /** There is a new connection, without any subscription. */
  renew(): void {
    this.#connection++;
    for (const [name, subject] of this.#subjects) this.#subscribe(name, subject);
    if (this.#subjects.size > 0) this.#wasDeaf = true;
    this.#restoreWhenConfirmed();
  }

  #open(name: string, onMessage: (bytes: Uint8Array) => void): Subject {
    const subject: Subject = {
      onMessage,
      users: 0,
      subscription: undefined,
      confirmed: Promise.resolve(false),
    };
    this.#subjects.set(name, subject);
    this.#subscribe(name, subject);
    return subject;
  }

  #subscribe(name: string, subject: Subject): void {
    subject.subscription = this.#link.subscribe(name, subject.onMessage);
    subject.confirmed = subject.subscription === undefined ? Promise.resolve(false) : this.#link.confirmed();
  }

  async #inTime(confirmed: Promise<boolean>): Promise<boolean> {
    let cancel = () => {};
    const late = new Promise<boolean>((resolve) => {
      cancel = this.#deps.clock.after(longestWaitMs, () => {
        this.#wasDeaf = true;
        this.#restoreWhenConfirmed();
        resolve(false);
      });
    });
    const ok = await Promise.race([confirmed, late]);
    cancel();
    return ok;
  }

  #restoreWhenConfirmed(): void {
    const connection = this.#connection;
    void this.#link.confirmed().then((ok) => {
      if (!ok || !this.#wasDeaf || connection !== this.#connection) return;
      this.#wasDeaf = false;
      this.#deps.onRestored();
    });
  }

  #leave(name: string, subject: Subject): void {
    subject.users--;
    if (subject.users > 0 || this.#subjects.get(name) !== subject) return;
    this.#subjects.delete(name);
    subject.subscription?.unsubscribe();
  }
}
