/** Parts of which the settings decide what they are, and whether they are there. */
import type { Logger } from "pino";
import { createMemoryBus } from "../bus/memory-bus.ts";
import { createNatsBus } from "../bus/nats-bus.ts";
import type { Config } from "../config.ts";
import { systemClock } from "../core/clock.ts";
import type { Bus } from "../core/ports.ts";
import type { PortOptions } from "../http/port.ts";

/** How often the certificate's files are looked at, ms. */
const certificateCheckMs = 5000;

/** In memory it is right for a single instance only; with several, readers of the others wait for the tail check. */
export async function openBus(config: Config, instanceId: string): Promise<Bus> {
  if (config.NATS_URL === undefined) return createMemoryBus();
  const options = { urls: config.NATS_URL, prefix: config.NATS_PREFIX, name: `tributary ${instanceId}` };
  return createNatsBus(options, { clock: systemClock, random: Math.random });
}

/** Loaded only if it is asked for: who does not trace does not pay for it. */
export async function openTraces(config: Config, instanceId: string, log: Logger) {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint } = config;
  if (endpoint === undefined) return undefined;
  const { openTracing } = await import("../tracing/exporter.ts");
  return openTracing({
    endpoint,
    headers: config.OTEL_EXPORTER_OTLP_HEADERS ?? {},
    serviceName: config.OTEL_SERVICE_NAME,
    instanceId,
    ratio: config.OTEL_TRACES_SAMPLER_ARG,
    onTrouble: (message, error) => log.warn({ reason: error.message }, message),
    onWell: (message) => log.info(message),
  });
}

export function toTls(
  { TLS_CERT: certFile, TLS_KEY: keyFile }: Config,
  log: Logger,
  onFailure: (message: string, error: Error) => void,
): PortOptions["tls"] {
  if (certFile === undefined || keyFile === undefined) return undefined;
  const onReload = () => log.info(`the certificate of ${certFile} is used from now on`);
  return { certFile, keyFile, checkIntervalMs: certificateCheckMs, onReload, onFailure };
}
