/**
 * Every bound of the port against clients that are slow, greedy or hostile, in one place (docs/operations/limits.md has them
 * all). None is a setting; tests that cannot wait give their own to `openPort`.
 */
export const edgeLimits = {
  /** Silence of a new connection, agreeing on TLS, a head of HTTP/1.1, ms. */
  firstBytesMs: 10_000,
  /** The first call of HTTP/2: clients that connect at their start have nothing to call at once, ms. */
  firstCallMs: 60_000,
  /** A connection without any call, ms. Above the 60 s after which common proxies drop theirs, so that they are first. */
  idleHttp1Ms: 65_000,
  idleHttp2Ms: 300_000,
  /** From the notice to go elsewhere to the end of a connection: calls that are on their way meanwhile are served, ms. */
  noticeMs: 5000,
  /** The one message of a call that takes one, 4 MiB over half a megabit a second, ms. */
  bodyMs: 60_000,
  /** The same of calls that need no credential, whose messages are a few bytes, ms. */
  openBodyMs: 10_000,
  /** Reading on what nobody wants any more, after an answer, ms. */
  restMs: 10_000,
  /** Until a client has taken the answer of a call that gives one, ms. */
  answerMs: 60_000,
  /** The same of what is left of a stream that has ended. Its reader may be slow, and resumes if it is cut off, ms. */
  streamAnswerMs: 300_000,
  /** Head of a request with all its fields, bytes. gRPC clients keep to 8 KiB by themselves. */
  headBytes: 16 * 1024,
  headFields: 100,
  /** Of the head, the path with its query, bytes. */
  pathBytes: 8 * 1024,
  /** Streams one HTTP/2 connection may have open: a gateway brings many readers by one. */
  streams: 10_000,
  /** Calls of one HTTP/2 connection that are broken off before any answer (CVE-2023-44487): at once, and a second. */
  abandonedBurst: 2000,
  abandonedPerSecond: 100,
  /** All that are broken off. Whoever may have so many open may break them all off. This bounds what never reaches us. */
  resetBurst: 10_000,
  resetPerSecond: 1000,
  /** PING and SETTINGS of one HTTP/2 connection: at once, and a second. gRPC clients send a PING with much of what they read. */
  controlBurst: 10_000,
  controlPerSecond: 1000,
  /** Streams beyond what is allowed, and frames that make no sense (also empty ones), before a connection is ended. */
  rejectedStreams: 100,
  invalidFrames: 1000,
  /** Entries of one SETTINGS. */
  settingsEntries: 32,
  /** One frame: what the protocol begins with. Larger ones only keep others waiting. */
  frameBytes: 16 * 1024,
  /** What a client may send ahead: a batch of 1 MiB should not wait for a round trip. */
  windowStreamBytes: 1024 * 1024,
  windowConnectionBytes: 4 * 1024 * 1024,
  /** Node refuses new streams on a connection that holds more. Its own 10 are too few for forty requests of 1 MiB at once. */
  sessionMb: 128,
  /** Bodies that are still arriving, of calls that take one message: of one connection, and of all. */
  connectionBodiesBytes: 64 * 1024 * 1024,
  bodiesBytes: 256 * 1024 * 1024,
  /** Streams open at once that need no credential (health, reflection), of all clients together. */
  openStreams: 1000,
  /** Connections that are being told that there are too many, and how long that may take, ms. */
  refusals: 1000,
  refusalMs: 1000,
} as const;

export type EdgeLimits = { readonly [K in keyof typeof edgeLimits]: number };
