/**
 * TLS for the port: HTTP/2 or HTTP/1.1 by ALPN. The certificate's files are looked at again and again: when they change,
 * new connections get the new certificate and those that are open go on. A pair that does not fit, as while only one of
 * the two was replaced, changes nothing and is reported.
 */
import { constants } from "node:crypto";
import { readFileSync, unwatchFile, watchFile } from "node:fs";
import { createSecureContext, createServer, type Server } from "node:tls";
import { BadSetting } from "../config.ts";

/**
 * Each with forward secrecy and authenticated encryption; HTTP/2 forbids the rest (RFC 9113, appendix A). Which of them is the
 * client's choice: it knows whether it has AES in hardware.
 */
const ciphers = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  ...["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"].flatMap((cipher) => [
    `ECDHE-ECDSA-${cipher}`,
    `ECDHE-RSA-${cipher}`,
  ]),
].join(":");

export interface TlsOptions {
  /** PEM: the certificate, then those that signed it. */
  readonly certFile: string;
  /** PEM: its private key. */
  readonly keyFile: string;
  /** How often the files are looked at, ms. */
  readonly checkIntervalMs: number;
  /** Longest handshake, ms. */
  readonly handshakeTimeoutMs: number;
  readonly onReload: () => void;
  readonly onFailure: (message: string, error: Error) => void;
}

export interface Tls {
  /** Takes sockets by `connection`, gives them secured by `secureConnection`. */
  readonly server: Server;
  close(): void;
}

export function openTls(options: TlsOptions): Tls {
  const { certFile, keyFile, checkIntervalMs, handshakeTimeoutMs, onReload, onFailure } = options;
  let pair = readPair(certFile, keyFile);
  const server = createServer({
    ...pair,
    ALPNProtocols: ["h2", "http/1.1"],
    minVersion: "TLSv1.2",
    ciphers,
    // A new handshake within a connection is of use to attackers alone, and TLS 1.3 has none.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    handshakeTimeout: handshakeTimeoutMs,
  });
  const reload = () => {
    try {
      const found = readPair(certFile, keyFile);
      if (found.cert.equals(pair.cert) && found.key.equals(pair.key)) return;
      server.setSecureContext(found);
      pair = found;
      onReload();
    } catch (error) {
      onFailure("the new certificate cannot be used; the one before stays", error as Error);
    }
  };
  // Polled: certificates are replaced by renaming, by links (Kubernetes), over networks; watching misses some of these.
  for (const file of [certFile, keyFile])
    watchFile(file, { interval: checkIntervalMs, persistent: false }, reload);
  return {
    server,
    close() {
      for (const file of [certFile, keyFile]) unwatchFile(file, reload);
    },
  };
}

function readPair(certFile: string, keyFile: string): { cert: Buffer; key: Buffer } {
  const read = (setting: string, file: string) => {
    try {
      return readFileSync(file);
    } catch (error) {
      throw new BadSetting(
        `${setting}: ${JSON.stringify(file)} cannot be read (${(error as NodeJS.ErrnoException).code})`,
      );
    }
  };
  const pair = { cert: read("TLS_CERT", certFile), key: read("TLS_KEY", keyFile) };
  try {
    createSecureContext(pair);
  } catch (error) {
    throw new BadSetting(
      `TLS_CERT, TLS_KEY: ${JSON.stringify(certFile)} and ${JSON.stringify(keyFile)} must be a certificate and its private key, both PEM (${(error as Error).message})`,
    );
  }
  return pair;
}
