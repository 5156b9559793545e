/**
 * What each call is authorized with. A function is asked before every call, so it should remember its answer; when the
 * server has refused that, it is told so and the call is tried once more.
 */
import { Code, type ConnectError, type Interceptor } from "@connectrpc/connect";
import { isFromServer } from "./resilience/errors.ts";

export type CredentialSource =
  | string
  | ((why: {
      /** The last answer is expired or revoked. */ readonly refused: boolean;
    }) => string | Promise<string>);

export class Credential {
  readonly #source: CredentialSource | undefined;
  #refused = false;
  #renewing: Promise<string> | undefined;

  constructor(source: CredentialSource | undefined) {
    this.#source = source;
  }

  get interceptor(): Interceptor {
    return (next) => async (request) => {
      const credential = await this.#get();
      if (credential !== undefined) request.header.set("authorization", `Bearer ${credential}`);
      return next(request);
    };
  }

  /** It expired: is there a way to another one? */
  renew(): boolean {
    // While another one is fetched, it is that which they wait for.
    if (this.#renewing === undefined) this.#refused = true;
    return typeof this.#source === "function";
  }

  /** The server refused it: may another one help? */
  mayHelp(error: ConnectError): boolean {
    return error.code === Code.Unauthenticated && isFromServer(error) && this.renew();
  }

  async #get(): Promise<string | undefined> {
    if (typeof this.#source !== "function") return this.#source;
    if (this.#refused) {
      this.#refused = false;
      const renewing = Promise.resolve(this.#source({ refused: true })).finally(() => {
        if (this.#renewing === renewing) this.#renewing = undefined;
      });
      this.#renewing = renewing;
    }
    // Those who come meanwhile would get the old one.
    return this.#renewing ?? this.#source({ refused: false });
  }
}
