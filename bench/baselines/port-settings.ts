/** HTTP/2 settings like those of Tributary's port: with Node's own, the baselines refuse calls at these loads. */
import type { ServerOptions } from "node:http2";

const windowBytes = 1024 * 1024;

export const portSettings: ServerOptions = {
  settings: { maxConcurrentStreams: 10_000, initialWindowSize: windowBytes },
  maxSessionMemory: 128,
};
