import { useServer } from "../support/server.ts";
import { openGrpcJs } from "./drivers/grpc-js.ts";
import { describeClient } from "./matrix.ts";

const server = useServer();

for (const version of ["v1", "v1alpha"] as const) {
  describeClient(`@grpc/grpc-js by reflection ${version}`, server, () => openGrpcJs(server.url, version));
}
