/** A nats-server of its own. Fails where the program is missing: `npm run setup:tests`. */
import { startNats } from "../../test/support/nats.ts";

export async function open() {
  const nats = await startNats();
  return { methods: { url: async () => nats.url }, close: () => nats.stop() };
}
