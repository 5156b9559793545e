/** What has to outlive a worker so that it writes each entry once: which session it has, and how much earlier ones settled. */
export interface SessionRecord {
  /** Empty: the next one is a new one. */
  readonly sessionId: string;
  /** Entries that earlier sessions settled. */
  readonly before: number;
}

export interface SessionStore {
  /** undefined: there is none yet. */
  load(): SessionRecord | undefined | Promise<SessionRecord | undefined>;
  /** Whole or not at all. Waited for before an entry is sent: afterwards nobody would know which session has it. */
  save(record: SessionRecord): void | Promise<void>;
}

/** For this process alone. */
export class MemorySessionStore implements SessionStore {
  #record: SessionRecord;

  constructor(sessionId = "") {
    this.#record = { sessionId, before: 0 };
  }

  load(): SessionRecord {
    return this.#record;
  }

  save(record: SessionRecord): void {
    this.#record = record;
  }
}
