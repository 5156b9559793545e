/**
 * Every RPC with one message each way, answered directly (direct-calls.ts) by the implementation that Connect's router has: a new
 * RPC is served so without a word. What surrounds each is put around it once, not for each call.
 */
import type { IncomingHttpHeaders } from "node:http";
import {
  create,
  type DescMethodUnary,
  type Message,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  type ContextValues,
  type HandlerContext,
  type Interceptor,
  type UnaryRequest,
} from "@connectrpc/connect";
import { limits } from "../core/limits.ts";
import type { DirectCall } from "./direct-calls.ts";

type Init = MessageInitShape<DescMethodUnary["output"]>;
type Implement = (message: Message, context: HandlerContext) => Init | Promise<Init>;
type AnyCall = ReturnType<Interceptor>;

/** The same router, which notes the unary methods that are registered with it. `interceptors`: the outermost first. */
export function withDirectUnary(
  router: ConnectRouter,
  interceptors: readonly Interceptor[],
  note: (call: DirectCall) => void,
): ConnectRouter {
  const noting: ConnectRouter = {
    ...router,
    service(service, implementation, options) {
      for (const method of service.methods) {
        const implement = (implementation as Record<string, unknown>)[method.localName];
        if (method.methodKind !== "unary" || typeof implement !== "function") continue;
        const serve = serving(
          method as DescMethodUnary,
          implement.bind(implementation) as Implement,
          interceptors,
        );
        note({ method, requestBytes: options?.readMaxBytes, serve });
      }
      router.service(service, implementation, options);
      return noting;
    },
  };
  return noting;
}

function serving(
  method: DescMethodUnary,
  implement: Implement,
  interceptors: readonly Interceptor[],
): DirectCall["serve"] {
  const { output, parent: service } = method;
  const invoke: AnyCall = async (request) => {
    const message = create(output, await implement(request.message as Message, request as DirectRequest));
    return { stream: false, service, method, message, header: noHeaders, trailer: noHeaders };
  };
  const call = interceptors.reduceRight((next, interceptor) => interceptor(next), invoke);
  return async (input, { values, signal, request: { headers }, response, protocol }) => {
    const { message } = await call(new DirectRequest(method, input, values, signal, headers));
    const bytes = toBinary(output, message as Message);
    if (bytes.byteLength > limits.messageBytesIn) protocol.end(response, tooLarge(bytes.byteLength));
    else protocol.answer(response, bytes);
  };
}

/** Answers have none of their own. */
const noHeaders = new Headers();

const tooLarge = (size: number) =>
  new ConnectError(
    `message size ${size} is larger than configured writeMaxBytes ${limits.messageBytesIn}`,
    Code.ResourceExhausted,
  );

/** What interceptors and implementations see of a call. What none of ours asks for is not made. */
class DirectRequest implements UnaryRequest, HandlerContext {
  readonly stream = false;
  readonly requestMethod = "POST";
  readonly method: DescMethodUnary;
  readonly message: Message;
  readonly values: ContextValues;
  readonly signal: AbortSignal;
  readonly #headers: IncomingHttpHeaders;
  #requestHeader: Headers | undefined;

  constructor(
    method: DescMethodUnary,
    message: Message,
    values: ContextValues,
    signal: AbortSignal,
    headers: IncomingHttpHeaders,
  ) {
    this.method = method;
    this.message = message;
    this.values = values;
    this.signal = signal;
    this.#headers = headers;
  }

  get service() {
    return this.method.parent;
  }

  get contextValues() {
    return this.values;
  }

  get header() {
    return this.requestHeader;
  }

  get requestHeader(): Headers {
    if (this.#requestHeader === undefined) {
      this.#requestHeader = new Headers();
      for (const [name, value] of Object.entries(this.#headers)) {
        if (!name.startsWith(":"))
          for (const one of [value ?? []].flat()) this.#requestHeader.append(name, one);
      }
    }
    return this.#requestHeader;
  }

  get responseHeader(): Headers {
    throw this.#unserved("response headers");
  }

  get responseTrailer(): Headers {
    throw this.#unserved("response trailers");
  }

  get url(): string {
    throw this.#unserved("its URL");
  }

  get protocolName(): string {
    throw this.#unserved("its protocol");
  }

  timeoutMs(): number | undefined {
    throw this.#unserved("its deadline, but by the signal");
  }

  #unserved(what: string): Error {
    return new Error(`${this.method.name}: a direct call does not have ${what}; see rpc/direct-unary.ts`);
  }
}
