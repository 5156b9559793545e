/** Every bound of the contract (§1) and of the design, in one place. Bounds count entries *and* bytes. */
const MiB = 1024 * 1024;

export const limits = {
  /** One payload, bytes. */
  payloadBytes: MiB,
  /** Metadata of one workflow or observation, keys and values together, bytes. */
  metadataBytes: 16 * 1024,
  /** Value of a variable as JSON, and how deep lists and objects in it may lie in one another. */
  variableBytes: 256 * 1024,
  variableDepth: 30,
  /** Metadata of one variable, keys and values together, bytes; `append` judges what they are merged. */
  variableMetadataBytes: 16 * 1024,
  /** Who changed a variable, bytes. */
  sourceBytes: 4096,
  /** All assignments of a SetVariables: names, values and constraints as JSON, metadata, bytes. */
  assignmentsBytes: MiB,
  /** What the patterns of one call may cost: instructions times characters. */
  patternSteps: 4 * MiB,
  /** Variables of one snapshot of WatchVariables. */
  snapshotVariables: 100_000,
  /** Id of an observation, and a space's name for people, bytes. */
  observationIdBytes: 1024,
  displayNameBytes: 4096,
  /** Words of a cue, bytes. */
  cueBytes: 4096,
  /** Recalls open at once on one MemoryFlow. */
  flowRecalls: 100,
  /** Reason of a RequestCancel, bytes. */
  reasonBytes: 4096,
  /** Depth of a workflow below its root. */
  depth: 32,
  /** A signal between instances, as JSON, bytes. */
  signalBytes: 64 * 1024,
  /** A message taken, bytes. */
  messageBytesIn: 4 * MiB,
  /** A message that is taken without a credential, bytes. */
  openMessageBytes: 4096,
  /** A message of PublishTaskEvents, bytes. */
  publishMessageBytes: 3 * MiB,
  /** Entries of one message, taken or sent, and of one page. */
  batchEntries: 1000,
  /** Bytes after which a batch or page closes; one larger entry may stand alone. */
  batchBytes: MiB,
  /** One group commit. */
  groupEntries: 1000,
  /** The same where several tenants write: nobody waits for a thousand entries of another. */
  sharedGroupEntries: 250,
  groupBytes: 2 * MiB,
  /** Recent entries of a stream kept for its readers. */
  windowEntries: 4096,
  windowBytes: 4 * MiB,
  /** Recent changes of a tenant's registry kept for who watches it. */
  watchWindowEntries: 4096,
  watchWindowBytes: 4 * MiB,
  /** Workflows of a snapshot of the registry: default and most. */
  watchSnapshot: { default: 100, most: 1000 },
  /** Recent system events kept for their readers; text of one, bytes. */
  systemEvents: 1024,
  systemEventBytes: 8192,
  /** Names of tasks, or of variables, that one subscription may ask for. */
  filterNames: 1000,
  /** The same of all streams together. */
  windowsBytes: 64 * MiB,
  /** Entries that a lane holds. */
  laneEntries: { high: 10_000, normal: 100_000, low: 50_000 },
  laneBytes: 64 * MiB,
  /** Entries, and payload bytes, that a session may have unacknowledged. */
  sessionCredit: 1000,
  sessionCreditBytes: 4 * MiB,
  /** A session without a connection is kept so long, ms. */
  sessionLeaseMs: 300_000,
  /** Own silence after which a side of a session sends a heartbeat; the other's after which it is detached, ms. */
  sessionHeartbeatMs: 15_000,
  sessionSilenceMs: 45_000,
  /** Longest wait of a close for what was accepted, ms. */
  sessionDrainMs: 30_000,
  /** Subscriptions open at once on one StreamMany or Multiplex. */
  multiplexLabels: 500,
  /** Of these, how many hold events that are on their way: from the window, and as many from the database. */
  multiplexTurns: 4,
  /** Of these, how many are being opened at a time. */
  multiplexOpenings: 8,
  /** Answers to a Multiplex's requests that its client has not read; with more its requests wait. */
  multiplexAnswers: 500,
  /** Silence after which a reader is told its position, ms: default and range. */
  heartbeatMs: { default: 15_000, min: 1000, max: 300_000 },
} as const;
