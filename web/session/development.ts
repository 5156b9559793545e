/** In development mode the server tells its own page the key of the tenant `dev` (server/http/console-session.ts). */
export interface Development {
  readonly tenant: string;
  readonly key: string;
}

export async function askDevelopment(): Promise<Development | undefined> {
  try {
    const response = await fetch("console/session", { method: "POST" });
    if (!response.ok) return undefined;
    const { tenant, key } = (await response.json()) as Partial<Development>;
    return tenant === undefined || key === undefined ? undefined : { tenant, key };
  } catch {
    return undefined; // nobody answers: the form says so when it is used
  }
}
