/** What a retention sweep asks of the database. Each call is one short transaction; one at a time over all instances. */

/** What was taken from the readers of a tenant: entries that have gone below a floor. */
export interface Trimmed {
  readonly tenant: string;
  readonly streams: number;
  readonly entries: number;
}

export interface Raised {
  /** Another instance is at it: nothing was done. */
  readonly busy: boolean;
  /** ms by the database's clock. */
  readonly nowMs: number;
  /** There may be more: look again. */
  readonly more: boolean;
  /** Some streams were passed by, since their writers had them locked. */
  readonly left: boolean;
  readonly trimmed: readonly Trimmed[];
}

export interface Deleted {
  readonly busy: boolean;
  readonly more: boolean;
  readonly deleted: number;
}

export interface RetentionStore {
  /**
   * Raises the floors of at most about so many streams that hold too much. `patient`: of one, waiting for its writers. With
   * `notedUntilMs` those that came over their limit after that time are left for later.
   */
  raiseFloors(streams: number, patient: boolean, notedUntilMs: number | undefined): Promise<Raised>;
  /** Deletes at most so many entries below floors. */
  deleteEntries(entries: number): Promise<Deleted>;
}
