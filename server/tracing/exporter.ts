/**
 * Sends spans to an OTLP receiver over HTTP. Loaded only when one is set: the SDK costs 20 ms and some MiB.
 *
 * A receiver that is away, slow or full costs spans, never a call: at most `queuedSpans` wait, what comes beyond is dropped, and
 * of an outage one warning is written when it begins and one line when it is over. A stop sends what waits, as long as it may take.
 *
 * Everything comes by argument. The exporter would fill what is left out from the environment, so nothing is, but for one
 * thing that it offers no argument against: OTEL_EXPORTER_OTLP_TRACES_HEADERS adds headers, as OpenTelemetry says it does.
 */
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import { mostLinks, type Tracing } from "../core/tracing.ts";
import { createTracing } from "./open-telemetry.ts";

export interface TracingOptions {
  /** Of the receiver; /v1/traces is added. */
  readonly endpoint: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly serviceName: string;
  readonly instanceId: string;
  /** Of the traces that begin here, 0–1; those that callers began are sampled as they say. */
  readonly ratio: number;
  readonly onTrouble: (message: string, error: Error) => void;
  readonly onWell: (message: string) => void;
}

export interface RunningTracing {
  readonly tracing: Tracing;
  /** Sends what waits, and stops. Resolves by then also if the receiver does not answer. */
  close(withinMs: number): Promise<void>;
}

/** An enumeration of a package that comes with the exporter. */
type Compression = NonNullable<
  NonNullable<ConstructorParameters<typeof OTLPTraceExporter>[0]>["compression"]
>;

const queuedSpans = 4096;
/** Spans of one request. */
const batchSpans = 512;
/** Between two requests, unless a batch is full, ms. */
const batchMs = 1000;
/** Longest time for one request with all its tries, ms. */
const requestMs = 5000;

export function openTracing(options: TracingOptions): RunningTracing {
  const exporter = new OTLPTraceExporter({
    url: `${options.endpoint.replace(/\/+$/, "")}/v1/traces`,
    headers: { ...options.headers },
    timeoutMillis: requestMs,
    concurrencyLimit: 1 + queuedSpans / batchSpans,
    compression: "none" as Compression,
    httpAgentOptions: (protocol) =>
      protocol === "http:" ? new HttpAgent({ keepAlive: true }) : new HttpsAgent({ keepAlive: true }),
  });
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      "service.name": options.serviceName,
      "service.instance.id": options.instanceId,
    }),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(options.ratio) }),
    spanLimits: {
      attributeCountLimit: 32,
      attributeValueLengthLimit: 256,
      linkCountLimit: mostLinks,
      eventCountLimit: 8,
      attributePerEventCountLimit: 8,
      attributePerLinkCountLimit: 8,
    },
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: watched(exporter, options),
        maxQueueSize: queuedSpans,
        maxExportBatchSize: batchSpans,
        scheduledDelayMillis: batchMs,
        exportTimeoutMillis: requestMs + 1000,
      }),
    ],
  });
  return {
    tracing: createTracing(provider.getTracer("tributary")),
    async close(withinMs) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, withinMs);
      });
      // Whether the receiver took them has been said by `watched`.
      await Promise.race([provider.shutdown().catch(() => {}), late]);
      clearTimeout(timer);
    },
  };
}

/** Tells when the receiver begins to fail, and when it is well again: two lines an outage, however long it lasts. */
function watched(exporter: SpanExporter, { onTrouble, onWell }: TracingOptions): SpanExporter {
  let lost = 0;
  return {
    export(spans, done) {
      exporter.export(spans, (result) => {
        // 0 is success: the enumeration is in a package that comes with the exporter.
        if (result.code === 0) {
          if (lost > 0) onWell(`the receiver of traces answers again; ${lost} spans were lost`);
          lost = 0;
        } else {
          if (lost === 0)
            onTrouble(
              "the receiver of traces does not take them; spans are lost until it does",
              result.error ?? new Error("no reason given"),
            );
          lost += spans.length;
        }
        // The processor reports failures once more, to a handler that is global; they have been told.
        done({ code: 0 });
      });
    },
    shutdown: () => exporter.shutdown(),
    forceFlush: async () => exporter.forceFlush?.(),
  };
}
