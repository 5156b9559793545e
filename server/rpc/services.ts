/**
 * All services of this server, and which parts of them are built. Methods that a service file leaves out answer
 * UNIMPLEMENTED; each has its access rule nevertheless.
 */
import type { DescService } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import { ServerReflection as ReflectionV1 } from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ReflectionV1Alpha } from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { Health } from "../../gen/health/v1/health_pb.ts";
import { AdminService } from "../../gen/tributary/v1/admin_service_pb.ts";
import { EventStreamService } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { MemoryService } from "../../gen/tributary/v1/memory_service_pb.ts";
import { TaskStreamService } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { TokenService } from "../../gen/tributary/v1/token_service_pb.ts";
import { VariableService } from "../../gen/tributary/v1/variable_service_pb.ts";
import { WorkflowService } from "../../gen/tributary/v1/workflow_service_pb.ts";
import { type AdminDeps, adminService } from "./admin-service.ts";
import { answerAlways } from "./answered-handlers.ts";
import { type EventStreamDeps, eventStreamService } from "./event-stream-service.ts";
import { type HealthDeps, healthService } from "./health.ts";
import { type MemoryServiceDeps, memoryService } from "./memory-service.ts";
import { reflectionService } from "./reflection.ts";
import { type TaskStreamDeps, taskStreamService } from "./task-stream-service.ts";
import { type TokenDeps, tokenService } from "./token-service.ts";
import { type VariableServiceDeps, variableService } from "./variable-service.ts";
import { type WorkflowServiceDeps, workflowService } from "./workflow-service.ts";

/** What clients may discover. */
export const services: readonly DescService[] = [
  AdminService,
  EventStreamService,
  MemoryService,
  TaskStreamService,
  TokenService,
  VariableService,
  WorkflowService,
  Health,
  ReflectionV1,
  ReflectionV1Alpha,
];

export type ServicesDeps = AdminDeps &
  EventStreamDeps &
  MemoryServiceDeps &
  TaskStreamDeps &
  TokenDeps &
  VariableServiceDeps &
  WorkflowServiceDeps &
  Omit<HealthDeps, "services">;

export function registerServices(router: ConnectRouter, deps: ServicesDeps): void {
  adminService(router, deps);
  eventStreamService(router, deps);
  memoryService(router, deps);
  taskStreamService(router, deps);
  tokenService(router, deps);
  variableService(router, deps);
  workflowService(router, deps);
  healthService(router, { ...deps, services });
  reflectionService(router, { services });
  answerAlways(router, deps.logBug);
}
