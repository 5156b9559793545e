/** The port before it knows which HTTP is spoken: a client that dawdles there harms nobody. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { expect, test } from "vitest";
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
