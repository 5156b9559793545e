/** Tells once that the connection was lost, and once that it is back, however many attempts lie between. */
import type { FollowItem } from "../../client/index.ts";
import type { Output } from "./output.ts";

export class ConnectionNotes {
  readonly #output: Output;
  #lost = false;

  constructor(output: Output) {
    this.#output = output;
  }

  show(item: FollowItem): void {
    if (item.kind === "interrupted" && !this.#lost) {
      this.#lost = true;
      const { reason, afterOffset } = item;
      const what =
        reason !== undefined && "reconnectAfterMs" in reason ? "the server is stopping" : "connection lost";
      this.#output.note(`${what}, resuming after offset ${afterOffset}`);
    }
    if ((item.kind === "resumed" || item.kind === "opened") && this.#lost) {
      this.#lost = false;
      this.#output.note(item.kind === "resumed" ? `resumed after offset ${item.afterOffset}` : "connected");
    }
  }
}
