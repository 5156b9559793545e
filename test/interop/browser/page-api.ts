/** What goes between the test and its web page. */
import type { Json, Rpc } from "../driver.ts";

export type WebProtocol = "connect" | "connect, binary" | "grpcweb";

interface Order {
  readonly id: number;
  readonly baseUrl: string;
  readonly credential: string | undefined;
}
export interface RpcOrder extends Order {
  readonly kind: "call";
  readonly protocol: WebProtocol;
  readonly rpc: Rpc;
  readonly requests: readonly Json[];
}
export interface FollowOrder extends Order {
  readonly kind: "follow";
  readonly shareCalls: boolean;
  readonly workflowId: string;
}
export interface SourceOrder {
  readonly kind: "source";
  readonly id: number;
  readonly url: string;
  readonly names: readonly string[];
  /** As a page should; without it the browser comes again, and is told to stop. */
  readonly closeAtEnd: boolean;
}

export type PageOrder = RpcOrder | FollowOrder | SourceOrder;

/** On `globalThis.tributary`. */
export interface PageApi {
  /** A `PageOrder` as JSON. Answers at once; what comes of it is reported. */
  run(order: string): void;
  cancel(id: number): void;
}

/** A message, or the end. */
export type PageReport =
  | { readonly id: number; readonly message: Json }
  | {
      readonly id: number;
      readonly code: string;
      readonly text: string;
      readonly details: readonly { readonly type: string; readonly bytes: readonly number[] }[];
    };
