/** The log of a server in this process, line by line. */
export interface LogLine {
  readonly level: number;
  readonly msg?: string;
  readonly [name: string]: unknown;
}

export class LogLines {
  readonly texts: string[] = [];

  write(text: string): void {
    this.texts.push(text);
  }

  get lines(): LogLine[] {
    return this.texts.map((text) => JSON.parse(text) as LogLine);
  }

  /** Lines of calls. */
  get calls(): LogLine[] {
    return this.lines.filter(({ msg }) => msg === "call");
  }

  /** As a whole, for who looks for what must not be there. */
  get text(): string {
    return this.texts.join("");
  }
}
