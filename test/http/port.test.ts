/** The port before it knows which HTTP is spoken: a client that dawdles there harms nobody. */
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { expect, test } from "vitest";
import { openPort } from "../../server/http/port.ts";
import { useServer } from "../support/server.ts";

const server = useServer();

async function dial(first: string): Promise<Socket> {
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  await once(socket, "connect");
  socket.write(first);
  return socket;
}

const answers = async () =>
  (await fetch(`${server.url}/healthz`, { signal: AbortSignal.timeout(5000) })).status;

test.each(["P", "PR", "PO", "G", "PRI", "\n"])(
  "a connection that says only %j keeps nobody else waiting",
  async (first) => {
    const socket = await dial(first);
    // Twice, so that the first bytes have surely been looked at.
    expect([await answers(), await answers()]).toEqual([200, 200]);
    socket.destroy();
  },
);

test("a request that arrives byte by byte is answered", async () => {
  const socket = await dial("");
  for (const byte of "POST /nowhere HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n") {
    socket.write(byte);
    await new Promise((resolve) => setImmediate(resolve));
  }
  let answer = "";
  for await (const chunk of socket) answer += String(chunk);
  expect(answer).toMatch(/^HTTP\/1\.1 404 /);
});

test("a port stops listening while its clients break off, at whatever moment of that", async () => {
  for (let ticks = 0; ticks < 10; ticks++) {
    const port = await openPort({ host: "127.0.0.1", port: 0, tls: undefined }, (_, response) =>
      response.end(),
    );
    const clients = Array.from({ length: 10 }, () => connectHttp2(`http://127.0.0.1:${port.address.port}`));
    await Promise.all(clients.map((client) => once(client.request({ ":path": "/" }).resume(), "close")));
    for (const client of clients) client.destroy();
    for (let tick = 0; tick < ticks; tick++) await new Promise((resolve) => setImmediate(resolve));
    port.stopListening();
    await port.idle(AbortSignal.timeout(1000));
    await port.close(1000);
  }
});
