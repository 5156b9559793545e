/** What `curl -i` prints: the head of the answer as text, then its body as it comes. */
export class HttpAnswer {
  /** As in "HTTP/2". */
  version = "";
  status = 0;
  body: Buffer = Buffer.alloc(0);
  readonly #headers = new Map<string, string>();
  #hasHead = false;

  push(bytes: Buffer): void {
    this.body = Buffer.concat([this.body, bytes]);
    if (this.#hasHead) return;
    const end = this.body.indexOf("\r\n\r\n");
    if (end === -1) return;
    const [statusLine = "", ...lines] = this.body.subarray(0, end).toString("latin1").split("\r\n");
    const [version = "", status] = statusLine.split(" ");
    this.version = version;
    this.status = Number(status);
    for (const line of lines) {
      const colon = line.indexOf(":");
      this.#headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
    }
    this.body = this.body.subarray(end + 4);
    this.#hasHead = true;
  }

  header(name: string): string {
    return this.#headers.get(name) ?? "";
  }
}
