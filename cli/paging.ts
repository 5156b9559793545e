/** Follows pages to the end, or to a limit. */
export interface PageRequest {
  readonly pageSize: number;
  readonly pageToken: string;
}

export interface Listing<T> {
  readonly rows: readonly T[];
  /** The limit cut it off. */
  readonly more: boolean;
}

const largestPage = 1000;

export async function readAll<T>(
  limit: number,
  readPage: (
    request: PageRequest,
  ) => Promise<{ readonly rows: readonly T[]; readonly nextPageToken: string }>,
): Promise<Listing<T>> {
  const rows: T[] = [];
  let pageToken = "";
  do {
    const page = await readPage({ pageSize: Math.min(limit - rows.length, largestPage), pageToken });
    rows.push(...page.rows);
    pageToken = page.nextPageToken;
  } while (pageToken !== "" && rows.length < limit);
  return { rows, more: pageToken !== "" };
}
