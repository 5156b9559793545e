/** A line of the product that is replaced before it runs, to show that the suite notices. */
export interface Patch {
  /** From the root of the repository. */
  readonly file: string;
  readonly line: string;
  readonly with: string;
}
