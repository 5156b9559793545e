/** The standard gRPC health service. All services share one state; "" is the server as a whole. */
import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter, type ServiceImpl } from "@connectrpc/connect";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../gen/health/v1/health_pb.ts";
import { limits } from "../core/limits.ts";
import { Wakeup } from "../core/wakeup.ts";

export interface HealthDeps {
  /** The services that can be asked for. */
  readonly services: readonly DescService[];
  isServing(): boolean;
  /** Calls the listener when isServing may have changed; answers the function that ends this. */
  onChange(listener: () => void): () => void;
}

export function healthService(router: ConnectRouter, deps: HealthDeps): void {
  const names = ["", ...deps.services.map((service) => service.typeName)];
  const status = () => (deps.isServing() ? Status.SERVING : Status.NOT_SERVING);

  const health: Partial<ServiceImpl<typeof Health>> = {
    check({ service }) {
      if (names.includes(service)) return { status: status() };
      const known = names.slice(1).join(", ");
      throw new ConnectError(`service must be empty or one of ${known}, found "${service}"`, Code.NotFound);
    },

    list: () => ({ statuses: Object.fromEntries(names.map((name) => [name, { status: status() }])) }),

    /** One message at once, then one a change. Ends only with the call: by its caller, or when the server shuts down. */
    async *watch({ service }, { signal }) {
      const wakeup = new Wakeup();
      const ring = () => wakeup.ring();
      signal.addEventListener("abort", ring);
      const unsubscribe = deps.onChange(ring);
      try {
        let sent: Status | undefined;
        for (;;) {
          signal.throwIfAborted();
          const now = names.includes(service) ? status() : Status.SERVICE_UNKNOWN;
          if (now !== sent) yield { status: now };
          sent = now;
          await wakeup.wait();
        }
      } finally {
        unsubscribe();
        signal.removeEventListener("abort", ring);
      }
    },
  };
  router.service(Health, health, { readMaxBytes: limits.openMessageBytes });
}
