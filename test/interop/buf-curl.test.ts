import { someOf } from "../support/random.ts";
import { useServer } from "../support/server.ts";
import { openBufCurl } from "./drivers/buf-curl.ts";
import { describeClient } from "./matrix.ts";

const server = useServer();

const ways = [
  { protocol: "grpc", http: "2" },
  { protocol: "grpcweb", http: "2" },
  { protocol: "connect", http: "2" },
  { protocol: "grpcweb", http: "1.1" },
  { protocol: "connect", http: "1.1" },
] as const;

// Each call is a process of its own, which takes long; reflection.test.ts has every protocol in every run.
for (const { protocol, http } of someOf(ways, 2)) {
  describeClient(`buf curl, ${protocol}, HTTP/${http}`, server, () =>
    openBufCurl(server.url, { protocol, http }),
  );
}
