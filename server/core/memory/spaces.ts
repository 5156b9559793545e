/**
 * Memory spaces of a tenant. Names are the tenant's own, so another tenant's space cannot even be named. The space `default`
 * always exists: it is made when it is first asked for, by whatever call.
 */
import { LRUCache } from "lru-cache";
import type { Access } from "../access.ts";
import { DomainError } from "../errors.ts";
import { payloadSize } from "../event.ts";
import { limits } from "../limits.ts";
import type { MemoryStore, NewSpace, Space, SpaceChange, SpaceIdentity } from "./memory-store.ts";

export const defaultSpace = "default";

const keepAll = { maxAgeMs: 0, maxObservations: 0 };

export class Spaces {
  readonly #store: MemoryStore;
  readonly #cache = new LRUCache<string, SpaceIdentity>({ max: 10_000 });

  constructor(store: MemoryStore) {
    this.#store = store;
  }

  /** Where a space is; "" means `default`. Throws not_found. */
  async require(access: Access, name: string): Promise<SpaceIdentity> {
    const space = name === "" ? defaultSpace : name;
    const key = `${access.tenant}\n${space}`;
    const cached = this.#cache.get(key);
    if (cached !== undefined) return cached;
    const { tenant, streamId } = await this.#read(access, space);
    const identity = { tenant, space, streamId };
    this.#cache.set(key, identity);
    return identity;
  }

  async create(access: Access, wanted: Omit<NewSpace, "tenant">): Promise<Space> {
    assertName(wanted.displayName);
    const made =
      wanted.space === defaultSpace
        ? undefined
        : await this.#store.createSpace({ ...wanted, tenant: access.tenant });
    if (made !== undefined) return made;
    throw new DomainError(
      "already_exists",
      `space: ${wanted.space} exists already; use it, change it with UpdateMemorySpace, or choose another name`,
    );
  }

  async update(access: Access, space: string, change: SpaceChange): Promise<Space> {
    assertName(change.displayName ?? "");
    await this.require(access, space);
    const updated = await this.#store.updateSpace(access.tenant, space, change);
    if (updated === undefined) throw unknownSpace(space);
    return updated;
  }

  async list(access: Access, size: number, after: string) {
    await this.require(access, defaultSpace);
    return this.#store.listSpaces(access.tenant, size, after);
  }

  async #read({ tenant }: Access, space: string): Promise<Space> {
    const find = () => this.#store.findSpace(tenant, space);
    let found = await find();
    if (found === undefined && space === defaultSpace) {
      found = await this.#store.createSpace({ tenant, space, displayName: "", retention: keepAll });
      // Another call made it meanwhile.
      found ??= await find();
    }
    if (found === undefined) throw unknownSpace(space);
    return found;
  }
}

function assertName(displayName: string): void {
  const size = payloadSize(displayName);
  if (size <= limits.displayNameBytes) return;
  throw new DomainError(
    "invalid_argument",
    `display_name: must not exceed ${limits.displayNameBytes} bytes, found ${size}`,
  );
}

const unknownSpace = (space: string) =>
  new DomainError(
    "not_found",
    `space: ${space} does not exist; make it with MemoryService.CreateMemorySpace, or leave the field empty for \`${defaultSpace}\``,
  );
