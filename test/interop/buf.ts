/** The program `buf` itself: the one in node_modules/.bin is a wrapper, whose start costs more than most calls. */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const buf = fileURLToPath(
  import.meta.resolve(`@bufbuild/buf-${process.platform}-${process.arch}/bin/buf`),
);

export interface BuiltApi {
  /** A FileDescriptorSet of the API and of all that it imports. */
  readonly path: string;
  remove(): Promise<void>;
}

export async function buildApi(): Promise<BuiltApi> {
  const folder = await mkdtemp(join(tmpdir(), "tributary-api-"));
  const path = join(folder, "tributary.binpb");
  await promisify(execFile)(buf, ["build", "-o", path], { cwd: join(import.meta.dirname, "../..") });
  return { path, remove: () => rm(folder, { recursive: true }) };
}
