/** Builds the console: `web` into `dist/web`, with each file also in the compressed forms that the server sends. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { extname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

/** The server that `npm run dev:web` passes calls on to. */
const server = process.env["TRIBUTARY_URL"] ?? "http://127.0.0.1:8080";
/** The page works on one origin; so in development its calls go through Vite, which says that they come from the server's own page. */
const proxied = {
  target: server,
  changeOrigin: true,
  headers: { origin: new URL(server).origin },
};

export default defineConfig({
  root: "web",
  build: {
    outDir: "../dist/web",
    emptyOutDir: true,
    // Nothing inline: the server's policy allows files alone.
    assetsInlineLimit: 0,
    // All of the first view: React, the SDK, the views of lists and trees.
    chunkSizeWarningLimit: 600,
    modulePreload: { polyfill: false },
    target: ["chrome123", "firefox121", "safari17.5"],
  },
  plugins: [react(), compress()],
  server: {
    proxy: Object.fromEntries(["^/tributary\\.v1\\.", "^/api/", "^/console/"].map((path) => [path, proxied])),
  },
});

/** Once, at the build, and so at the highest level. What is small gains nothing. */
function compress(): Plugin {
  let folder = "";
  return {
    name: "compress",
    apply: "build",
    configResolved({ root, build }) {
      folder = resolve(root, build.outDir);
    },
    async closeBundle() {
      const entries = await readdir(folder, { recursive: true, withFileTypes: true });
      const files = entries.filter(
        (entry) => entry.isFile() && /\.(html|js|css|svg)$/.test(extname(entry.name)),
      );
      await Promise.all(
        files.map(async ({ parentPath, name }) => {
          const file = join(parentPath, name);
          const bytes = await readFile(file);
          if (bytes.length < 500) return;
          const quality = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY };
          await writeFile(`${file}.br`, await promisify(brotliCompress)(bytes, { params: quality }));
          await writeFile(`${file}.gz`, await promisify(gzip)(bytes, { level: 9 }));
        }),
      );
    },
  };
}
