/** What memory keeps beside its streams: spaces, and observations by position, id and cue. Writing goes by `append`. */
/** A space's facts that never change. */
export interface SpaceIdentity {
  readonly tenant: string;
  readonly space: string;
  readonly streamId: string;
}

export interface SpaceRetention {
  /** 0: keep. */
  readonly maxAgeMs: number;
  /** 0: all. */
  readonly maxObservations: number;
}

export interface Space extends SpaceIdentity {
  readonly displayName: string;
  readonly retention: SpaceRetention;
  readonly createdMs: number;
  readonly tailOffset: number;
}

export interface NewSpace {
  readonly tenant: string;
  readonly space: string;
  readonly displayName: string;
  readonly retention: SpaceRetention;
}

/** undefined: keeps its value. */
export interface SpaceChange {
  readonly displayName: string | undefined;
  readonly retention: SpaceRetention | undefined;
}

/** An observation as stored. */
export interface Observation {
  readonly offset: number;
  readonly observationId: string;
  readonly sessionId: string;
  readonly content: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly confidence: number;
  readonly importance: number;
  readonly observedMs: number;
  readonly recordedMs: number;
}

/** What to recall. */
export type Cue =
  | { readonly kind: "text"; readonly text: string }
  /** From inclusive, to exclusive; 0: open. */
  | { readonly kind: "time"; readonly fromMs: number; readonly toMs: number }
  | { readonly kind: "session"; readonly sessionId: string };

/** A match before its content is read. */
export interface Ranked {
  readonly offset: number;
  readonly score: number;
  /** Of content, metadata and id. */
  readonly bytes: number;
}

export interface RankRequest {
  readonly streamId: string;
  readonly cue: Cue;
  /** Nothing after this offset. */
  readonly upTo: number;
  readonly limit: number;
  readonly minScore: number;
  /** What recency is measured from, ms. */
  readonly nowMs: number;
}

/** Matches after an offset, in order. */
export interface MatchPage {
  readonly matches: readonly { readonly observation: Observation; readonly score: number }[];
  /** Every match up to here was in the page. */
  readonly scannedTo: number;
  /** Of the page's own snapshot. */
  readonly floorOffset: number;
}

export interface MemoryStore {
  findSpace(tenant: string, space: string): Promise<Space | undefined>;
  /** undefined: the name is taken. */
  createSpace(space: NewSpace): Promise<Space | undefined>;
  /** undefined: no such space. */
  updateSpace(tenant: string, space: string, change: SpaceChange): Promise<Space | undefined>;
  /** By name, after the given one. */
  listSpaces(
    tenant: string,
    size: number,
    after: string,
  ): Promise<{ readonly spaces: readonly Space[]; readonly next: string | undefined }>;
  findObservation(
    streamId: string,
    key: { readonly offset: number } | { readonly observationId: string },
  ): Promise<Observation | undefined>;
  /** Does the text hold a word to look for? */
  hasWords(text: string): Promise<boolean>;
  /** The best matches, best first. */
  rank(request: RankRequest): Promise<readonly Ranked[]>;
  /** Those that are still there, in any order. */
  readObservations(streamId: string, offsets: readonly number[]): Promise<readonly Observation[]>;
  /** Throws StoreError "away" while the database cannot be reached. Matches after `cursor` up to `upTo`: at most 1,000 or 1 MiB; one larger may stand alone. */
  readMatches(
    streamId: string,
    cue: Cue,
    cursor: number,
    upTo: number,
    nowMs: number,
  ): Promise<MatchPage | undefined>;
}
