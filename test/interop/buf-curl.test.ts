import { useServer } from "../support/server.ts";
import { openBufCurl } from "./drivers/buf-curl.ts";
import { describeClient } from "./matrix.ts";

const server = useServer();

for (const protocol of ["grpc", "grpcweb", "connect"] as const) {
  describeClient(`buf curl, ${protocol}, HTTP/2`, server, () =>
    openBufCurl(server.url, { protocol, http: "2" }),
  );
}
for (const protocol of ["grpcweb", "connect"] as const) {
  describeClient(`buf curl, ${protocol}, HTTP/1.1`, server, () =>
    openBufCurl(server.url, { protocol, http: "1.1" }),
  );
}
