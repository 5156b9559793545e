/** What runs in a child process: a server or a load. The parent calls its methods over IPC, so all values are plain data. */
export type Methods = Readonly<Record<string, (...args: never[]) => Promise<unknown>>>;

export interface Role<M extends Methods> {
  readonly methods: M;
  close?(): Promise<void> | void;
}
