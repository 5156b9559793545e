/** A certificate for this machine that nobody signed, and its key: what a test's server with TLS uses. */
import { generate } from "selfsigned";

export interface Pair {
  readonly cert: string;
  readonly key: string;
}

export async function newPair(): Promise<Pair> {
  const altNames = [
    { type: 7 as const, ip: "127.0.0.1" },
    { type: 2 as const, value: "localhost" },
  ];
  const pem = await generate([{ name: "commonName", value: "localhost" }], {
    keyType: "ec",
    algorithm: "sha256",
    extensions: [{ name: "subjectAltName", altNames }],
  });
  return { cert: pem.cert, key: pem.private };
}
