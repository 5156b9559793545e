/**
 * Wires everything: the only file that knows all parts. Opens in order, closes in reverse. `startServer` is what the
 * command line, the tests and the benchmarks start.
 */
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import type { DestinationStream, Logger } from "pino";
import type { DatabaseOptions } from "../db/pool.ts";
import { findRestore } from "../db/restored.ts";
import { readNow } from "../db/statements/read-now.ts";
import { assertComplete, ruleOf } from "./auth/access-rules.ts";
import { Authenticator, devTenant } from "./auth/authenticator.ts";
import { startRevocationSweep } from "./auth/revocation-sweep.ts";
import { Revocations } from "./auth/revocations.ts";
import { SigningKeys, startSigningKeyCleaning } from "./auth/signing-keys.ts";
import { StreamTokens } from "./auth/stream-token.ts";
import type { Config } from "./config.ts";
import { Appender } from "./core/appender.ts";
import { systemClock } from "./core/clock.ts";
import type { NewEvent } from "./core/event.ts";
import { Hub } from "./core/hub.ts";
import { noMeasures } from "./core/measures.ts";
import { Spaces } from "./core/memory/spaces.ts";
import { Newsroom } from "./core/news.ts";
import { OpenCalls } from "./core/open-call.ts";
import type { Bus } from "./core/ports.ts";
import { LimitsCache } from "./core/quota/limits-cache.ts";
import { Quotas } from "./core/quota/quotas.ts";
import { Readers } from "./core/quota/readers.ts";
import { Registry } from "./core/registry.ts";
import { RetentionSweep } from "./core/retention/sweep.ts";
import { Sessions } from "./core/session/sessions.ts";
import { DatabaseWatch } from "./core/system/database-watch.ts";
import { HealthWatch } from "./core/system/health.ts";
import { LagWatch } from "./core/system/lag-watch.ts";
import { toDropped, toError, toLife, toSessionEvent, toTrimmed, toWarning } from "./core/system/occasions.ts";
import { Peers } from "./core/system/peers.ts";
import { watchPressure } from "./core/system/pressure-watch.ts";
import { SystemEvents, SystemEventType } from "./core/system/system-events.ts";
import { TaskHints } from "./core/task-hints.ts";
import { Traffic } from "./core/traffic.ts";
import { Variables } from "./core/variables/variables.ts";
import { Watches } from "./core/watch/watches.ts";
import { createConsole } from "./http/console.ts";
import { type EdgeLimits, edgeLimits } from "./http/edge-limits.ts";
import { createHandler } from "./http/handler.ts";
import { createOriginCheck } from "./http/origin.ts";
import { openPort } from "./http/port.ts";
import { createCallLog } from "./log/call-log.ts";
import { openLog } from "./log/logger.ts";
import { createSlowness } from "./log/slowness.ts";
import { Metrics } from "./metrics/metrics.ts";
import type { AuditLine, WriteAudit } from "./rpc/audit.ts";
import { createCallKinds } from "./rpc/call-kinds.ts";
import { createFindMistake } from "./rpc/misaddressed.ts";
import { services } from "./rpc/services.ts";
import { Closers } from "./start/closers.ts";
import { connectTimeoutMs, isReachable, openDatabase } from "./start/database.ts";
import { openDevelopmentMode } from "./start/development-mode.ts";
import { openBus, openTraces, toTls } from "./start/parts-from-config.ts";
import { serveRpcs } from "./start/serve-rpcs.ts";
import { createPgEventStore } from "./store/pg-event-store.ts";
import { createPgMemoryStore } from "./store/pg-memory-store.ts";
import { createPgReaderStore } from "./store/pg-reader-store.ts";
import { createPgRetentionStore } from "./store/pg-retention-store.ts";
import { createPgSessionStore } from "./store/pg-session-store.ts";
import { createPgTenantStore } from "./store/pg-tenant-store.ts";
import { createPgVariableStore } from "./store/pg-variable-store.ts";
import { createPgWorkflowChanges } from "./store/pg-workflow-changes.ts";
import { createPgWorkflowStore } from "./store/pg-workflow-store.ts";

export interface RunningServer {
  readonly url: string;
  /** In development mode: the key of the tenant `dev`. */
  readonly devKey: string | undefined;
  readonly log: Logger;
  /** Resolves if the embedded Postgres ends by itself: then this server cannot go on. */
  readonly lost: Promise<Error>;
  /** What is open right now; all 0 when nobody is connected. */
  gauges(): { readonly openCalls: number; readonly liveStreams: number; readonly waitingCommands: number };
  /** Drains and closes everything; safe twice. */
  close(): Promise<void>;
}

/** Admin keys of fewer characters are warned of. */
const shortAdminKey = 16;
const statementTimeoutMs = 30_000;
/** New calls on old connections are served for so long after a drain began, while there are any, ms (contract §7). */
const lateCallsMs = 2000;
/** Longest wait for last messages to go out to clients that read slowly or not at all, ms. */
const lastMessagesMs = 2000;
/** A stop waits so long for the receiver of traces, ms. */
const lastSpansMs = 2000;

/** What several servers in one process may share, or have elsewhere. Who gives it closes it. */
export interface SharedParts {
  readonly bus?: Bus;
  /** Where lines of the log go; absent: to stderr. */
  readonly logTo?: DestinationStream;
  /** No measures and no notes of calls, to see what they cost. */
  readonly unobserved?: true;
  /** Takes the audit lines instead of the log. */
  readonly audit?: WriteAudit;
  /** Shorter limits of the port, for tests that cannot wait. */
  readonly edge?: EdgeLimits;
  /** Where the built console is; absent: `dist/web` beside this code. */
  readonly consoleFolder?: string;
}

/** What `npm run build:web` writes. */
const consoleFolder = fileURLToPath(new URL("../dist/web", import.meta.url));

export async function startServer(config: Config, shared: SharedParts = {}): Promise<RunningServer> {
  const { log, close: closeLog } = openLog(config.LOG_LEVEL, shared.logTo);
  const closers = new Closers(log);
  const closeAll = async () => {
    await closers.closeAll();
    closeLog();
  };
  try {
    return await open(config, shared, log, closers, closeAll);
  } catch (error) {
    await closeAll();
    throw error;
  }
}

async function open(
  config: Config,
  shared: SharedParts,
  log: Logger,
  closers: Closers,
  closeAll: () => Promise<void>,
): Promise<RunningServer> {
  assertComplete(services);
  const { url, lost } = await openDatabase(config, log, closers);
  const adminKeyLength = config.TRIBUTARY_ADMIN_KEY?.length ?? shortAdminKey;
  if (adminKeyLength < shortAdminKey) {
    log.warn(
      `TRIBUTARY_ADMIN_KEY has ${adminKeyLength} characters and may be guessed; make one with openssl rand -base64 32`,
    );
  }

  const database: DatabaseOptions = {
    url,
    poolSize: config.POOL_SIZE,
    connectTimeoutMs,
    statementTimeoutMs,
    onError: (error) =>
      failuresOf("database")("a connection to the database was lost; it is replaced when needed", error),
  };
  const clock = systemClock;
  const startedMs = clock.now();
  const random = Math.random;
  const instanceId = randomUUID();
  const bus = shared.bus ?? (await openBus(config, instanceId));
  const databaseWatch = new DatabaseWatch({
    clock,
    readNow: () => readNow(store.pool),
    onTried: () => health.look(),
  });
  const systemEvents = new SystemEvents({
    bus,
    instanceId,
    databaseNow: () => databaseWatch.now(),
    onFailure: (message, error) => log.warn({ err: error }, message),
  });
  /** Failures that the service lives with, of one of its parts. */
  const failuresOf = (component: string) => (message: string, error: Error) => {
    log.warn({ err: error }, message);
    systemEvents.emit(toWarning(component, message, error));
  };
  const logBug = (errorId: string, error: unknown) => {
    log.error({ err: error, errorId }, "internal error");
    systemEvents.emit(toError(errorId, error));
  };

  const tracing = await openTraces(config, instanceId, log);
  if (tracing !== undefined) {
    closers.add("tracing", () => tracing.close(Math.min(lastSpansMs, config.DRAIN_TIMEOUT_MS)));
  }
  const store = createPgEventStore({ ...database, commitConnections: config.COMMIT_CONNECTIONS });
  closers.add("the database connections", () => store.close());
  const tenants = createPgTenantStore(store.pool);
  if (shared.bus === undefined) closers.add("the bus", () => bus.close());
  await systemEvents.open();
  closers.add("the system events", () => systemEvents.close());
  const news = new Newsroom({ bus, instanceId });
  await news.open();
  closers.add("the news of other instances", () => news.close());
  const peers = new Peers({ bus, instanceId, clock, systemEvents });
  await peers.open();
  closers.add("the watch on other instances", () => peers.close());
  const metrics = new Metrics();
  const traffic = new Traffic({
    measures: shared.unobserved ? noMeasures : metrics.measures,
    databaseNow: () => databaseWatch.now(),
  });
  const hub = new Hub({ store, bus, clock, traffic, onFailure: failuresOf("hub") });
  closers.add("the hub", () => hub.close());
  const slowness = createSlowness(log, clock.now);
  const lagWatch = new LagWatch({ hub, clock, tell: slowness.farBehind }, config.FAR_BEHIND_EVENTS);
  closers.add("the watch on readers", () => lagWatch.close());
  const registry = new Registry({ store: createPgWorkflowStore(store.pool), clock, news });
  const changes = createPgWorkflowChanges(store.pool);
  const watches = new Watches({ changes, bus, clock, onFailure: failuresOf("watches") });
  closers.add("the watches of registries", () => watches.close());
  const limitsCache = new LimitsCache({ store: tenants, clock, news, onFailure: failuresOf("quotas") });
  closers.add("the limits of tenants", () => limitsCache.close());
  const quotas = new Quotas({ limits: limitsCache, clock, counts: traffic.counts });
  const readers = new Readers({
    store: createPgReaderStore(store.pool, instanceId),
    limits: limitsCache,
    clock,
    counts: traffic.counts,
    onFailure: failuresOf("quotas"),
  });
  closers.add("the counts of readers", () => readers.close());
  // What has a date, or is compared with one that another instance made, goes by the clock that all share.
  const databaseClock = { now: () => databaseWatch.now(), after: clock.after };
  const calls = new OpenCalls({ clock: databaseClock, random, readers });
  const appender = new Appender(
    {
      store,
      bus,
      clock,
      random,
      traffic,
      tracing: tracing?.tracing,
      slowCommits: { fromMs: config.SLOW_COMMIT_MS, tell: slowness.slowCommit },
      onFailure: failuresOf("appender"),
    },
    { commitConnections: config.COMMIT_CONNECTIONS },
  );
  closers.add("the appender", () => appender.close(AbortSignal.timeout(config.DRAIN_TIMEOUT_MS)));

  const retention = new RetentionSweep(
    {
      store: createPgRetentionStore(store.pool),
      clock,
      onTrimmed(trimmed) {
        for (const sums of trimmed) {
          traffic.trimmed(sums.tenant, sums.entries);
          const event = toTrimmed(sums);
          if (event === undefined) continue;
          log.info(sums, event.message);
          systemEvents.emit(event);
        }
      },
      onFailure: failuresOf("retention"),
    },
    { intervalMs: config.RETENTION_INTERVAL_MS },
  );
  closers.add("the retention sweep", () => retention.close());

  const sessionStore = createPgSessionStore(store.pool);
  const sessions = new Sessions({
    appender,
    store: sessionStore,
    quotas,
    calls,
    clock,
    news,
    onFailure: failuresOf("sessions"),
    onChange: (change) => systemEvents.emit(toSessionEvent(change)),
  });
  closers.add("the sessions", () => sessions.close());

  const memory = createPgMemoryStore(store.pool);
  const variableStore = createPgVariableStore(store.pool);

  const signingKeys = new SigningKeys({ store: tenants, clock });
  const tokens = new StreamTokens(signingKeys);
  const devKey = config.developmentMode ? await openDevelopmentMode(config, tenants) : undefined;
  const authenticator = new Authenticator(
    { store: tenants, tokens, clock: databaseClock },
    { adminKey: config.TRIBUTARY_ADMIN_KEY, devKey },
  );
  const sweep = startRevocationSweep({
    store: tenants,
    signingKeys,
    calls,
    clock,
    onFailure: failuresOf("credentials"),
  });
  closers.add("the revocation sweep", () => sweep.stop());
  closers.add(
    "the cleaning of signing keys",
    startSigningKeyCleaning({ store: tenants, clock }, failuresOf("credentials")),
  );

  let draining = false;
  const health = new HealthWatch({
    systemEvents,
    isDraining: () => draining,
    isDatabaseThere: () => databaseWatch.answers && appender.awayReason === undefined,
    busTrouble: () => bus.degraded(),
  });
  // Lost notices and signals delay until somebody looks; when the bus is back, that is now.
  const stopRestored = bus.onRestored(() => {
    hub.checkNow();
    watches.checkNow();
    registry.doubtAll();
    limitsCache.refresh();
    const look = (what: string, looked: Promise<void>) =>
      looked.catch((error: Error) =>
        failuresOf("bus")(`looking for ${what} failed; it is done again`, error),
      );
    void look("sessions taken elsewhere", sessions.keepLeases());
    void look("revoked keys", sweep.now());
  });
  const tellBus = () => {
    const trouble = bus.degraded();
    if (trouble === undefined) log.info("the bus works");
    else log.warn({ trouble }, "the bus is degraded: other instances' events come up to a second later");
    health.look();
  };
  const stopBus = bus.onChange(tellBus);
  if (bus.degraded() !== undefined) tellBus();
  closers.add("the watch on the bus", () => {
    stopRestored();
    stopBus();
  });
  await databaseWatch.start();
  const restore = await findRestore(store.pool);
  if (restore !== undefined) {
    log.warn(restore);
    systemEvents.emit({ type: SystemEventType.WARNING, component: "database", message: restore });
  }
  const stopHealth = appender.onWaitChange(() => health.look());
  const stopPressure = watchPressure(appender.lanes, systemEvents);
  closers.add("the watch on the database", async () => {
    stopHealth();
    stopPressure();
    await databaseWatch.stop();
  });
  const stats = { instanceId, clock, startedMs, health, hub, sessions, lanes: appender.lanes.usage, traffic };
  const servingListeners = new Set<() => void>();
  const deps = {
    hub,
    store,
    clock,
    databaseNow: databaseClock.now,
    registry,
    changes,
    watches,
    calls,
    appender,
    sessions,
    sessionStore,
    memory,
    spaces: new Spaces(memory),
    variableStore,
    variables: new Variables({ appender, registry, variableStore, clock, quotas }),
    tenants,
    quotas,
    limitsCache,
    authenticator,
    credentials: tenants,
    revocations: new Revocations({
      authenticator,
      calls,
      signingKeys,
      news,
      onFailure: failuresOf("credentials"),
    }),
    tokens,
    logBug,
    taskHints: new TaskHints(),
    systemEvents,
    stats,
    onDropped: (tenant: string, event: NewEvent, why: string) => {
      const { workflowId, taskExecutionId } = event;
      log.warn({ tenant, workflowId, taskExecutionId, why }, "an accepted event could not be stored");
      systemEvents.emit(toDropped(tenant, event, why));
    },
    isServing: () => !draining,
    onChange: (listener: () => void) => {
      servingListeners.add(listener);
      return () => servingListeners.delete(listener);
    },
  };
  // Whatever LOG_LEVEL hides, but for silent.
  const auditLog = log.child({ audit: true }, { level: config.LOG_LEVEL === "silent" ? "silent" : "info" });
  const audit = shared.audit ?? ((line: AuditLine) => auditLog.info(line, `${line.act}: ${line.outcome}`));
  const edge = shared.edge ?? edgeLimits;
  const kindOf = createCallKinds(services, ruleOf);
  const handler = createHandler({
    observer: shared.unobserved ? undefined : { tracing: tracing?.tracing, onEnd: createCallLog(log) },
    originCheck: createOriginCheck({ developmentMode: config.developmentMode, origins: config.CORS_ORIGINS }),
    readiness: {
      notReady: async () => {
        if (draining) return "draining";
        return (await isReachable(store.pool)) ? undefined : "database away";
      },
      degraded: () => (bus.degraded() === undefined ? undefined : "bus"),
    },
    sse: deps,
    metrics: {
      contentType: metrics.contentType,
      text: () =>
        metrics.text({
          ...stats,
          bus,
          calls,
          pools: store.pools,
          poolSize: config.POOL_SIZE,
          watchers: () => ({ registry: watches.watchers, system_events: systemEvents.listeners }),
        }),
    },
    console: createConsole(shared.consoleFolder ?? consoleFolder),
    consoleSession: devKey === undefined ? undefined : { tenant: devTenant, key: devKey },
    findMistake: createFindMistake(services),
    kindOf,
    limits: edge,
    rpc: serveRpcs(deps, { audit, kindOf, edge }),
  });
  const port = await openPort(
    {
      host: config.HOST,
      port: config.PORT,
      tls: toTls(config, log, failuresOf("certificate")),
      maxConnections: config.MAX_CONNECTIONS,
      onFull: () =>
        log.warn(`${config.MAX_CONNECTIONS} connections (MAX_CONNECTIONS) are open; more are refused`),
      limits: edge,
    },
    handler,
  );

  closers.add("the port", async () => {
    const signal = AbortSignal.timeout(config.DRAIN_TIMEOUT_MS);
    draining = true;
    systemEvents.emit(toLife(SystemEventType.SHUTDOWN));
    health.look();
    for (const listener of servingListeners) listener();
    port.stopListening();
    await port.idle(AbortSignal.timeout(Math.min(lateCallsMs, config.DRAIN_TIMEOUT_MS)));
    port.refuseNew();
    await calls.drain("writer", signal);
    await appender.close(signal);
    await calls.drain("reader", signal);
    // Ended in core, but the last messages are still on their way out.
    await port.close(lastMessagesMs);
  });
  systemEvents.emit(toLife(SystemEventType.STARTUP));
  let closing: Promise<void> | undefined;
  return {
    url: `${config.TLS_CERT === undefined ? "http" : "https"}://${config.HOST.includes(":") ? `[${config.HOST}]` : config.HOST}:${port.address.port}`,
    devKey,
    log,
    lost,
    gauges: () => ({
      openCalls: calls.size,
      liveStreams: hub.size + watches.size,
      waitingCommands: appender.lanes.waiting,
    }),
    close: () => (closing ??= closeAll()),
  };
}
