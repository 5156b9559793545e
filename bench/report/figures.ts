/** Every figure there is: its heading and how many digits it is shown with. Units are in the names. */
export const figures = {
  eventsPerSecond: { heading: "events/s", digits: 0 },
  updatesPerSecond: { heading: "updates/s", digits: 0 },
  eventsPerCommit: { heading: "events/commit", digits: 1 },
  messagesPerSecond: { heading: "messages/s", digits: 0 },
  eventsPerMessage: { heading: "events/message", digits: 1 },
  deliveriesPerSecond: { heading: "deliveries/s", digits: 0 },
  ackP50Ms: { heading: "ack p50 ms", digits: 2 },
  ackP99Ms: { heading: "ack p99 ms", digits: 2 },
  p50Ms: { heading: "p50 ms", digits: 2 },
  p90Ms: { heading: "p90 ms", digits: 2 },
  p99Ms: { heading: "p99 ms", digits: 2 },
  maxMs: { heading: "max ms", digits: 1 },
  lateP99Ms: { heading: "load late p99 ms", digits: 2 },
  replacedPercent: { heading: "replaced %", digits: 0 },
  missing: { heading: "not delivered", digits: 0 },
  serverCpuUs: { heading: "server CPU µs each", digits: 1 },
  serverCpuUsPerEvent: { heading: "server CPU µs/event", digits: 1 },
  serverCpuUsPerDelivery: { heading: "server CPU µs/delivery", digits: 1 },
  serverCpuPercent: { heading: "server CPU %", digits: 0 },
  databaseCpuPercent: { heading: "database CPU %", digits: 0 },
  loadCpuPercent: { heading: "load CPU %", digits: 0 },
  rssMb: { heading: "RSS MB", digits: 1 },
  rssGrowthMb: { heading: "RSS growth MB", digits: 1 },
  heapGrowthMb: { heading: "heap growth MB", digits: 1 },
  rssKbPerReader: { heading: "RSS KB/reader", digits: 1 },
  heapKbPerReader: { heading: "heap KB/reader", digits: 1 },
  goneMs: { heading: "gone ms", digits: 0 },
  openMsPerReader: { heading: "open ms/reader", digits: 2 },
  rssKbPerSession: { heading: "RSS KB/session", digits: 1 },
  heapKbPerSession: { heading: "heap KB/session", digits: 1 },
  openMsPerSession: { heading: "open ms/session", digits: 2 },
} as const;

export type FigureName = keyof typeof figures;
/** A figure that a contender cannot have is absent. */
export type Figures = Readonly<Partial<Record<FigureName, number>>>;
