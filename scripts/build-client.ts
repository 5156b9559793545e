/**
 * `npm run build:client`: the client as a package of its own, ready for `npm pack`, in dist/client (or the folder that is
 * given). It holds the client and the generated code as JavaScript with types; a bundler for browsers gets client/browser.ts
 * under the name that Node gives client/node.ts. Its dependencies are those of the client alone, at the versions tested here.
 */
import { execFileSync } from "node:child_process";
import { cpSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const out = resolve(process.argv[2] ?? join(root, "dist/client"));
const { version, description, license, dependencies, devDependencies } = JSON.parse(
  readFileSync(join(root, "package.json"), "utf8"),
);

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const config = join(out, "tsconfig.json");
writeFileSync(
  config,
  JSON.stringify({
    extends: join(root, "tsconfig.json"),
    compilerOptions: {
      noEmit: false,
      declaration: true,
      rewriteRelativeImportExtensions: true,
      stripInternal: true,
      // Of what Node and browsers share: what only one of them has is declared in the file that needs it.
      target: "es2022",
      rootDir: root,
      outDir: out,
      typeRoots: [join(root, "node_modules/@types")],
    },
    include: [],
    files: ["client/node.ts", "client/browser.ts"].map((file) => join(root, file)),
  }),
);
execFileSync(join(root, "node_modules/.bin/tsc"), ["-p", config], { stdio: "inherit", cwd: root });
rmSync(config);

/** What the emitted code imports, each at the version that is tested here. */
const imported = new Set<string>();
for (const file of globSync("**/*.js", { cwd: out })) {
  for (const [, name = ""] of readFileSync(join(out, file), "utf8").matchAll(/from "([^."][^"]*)"/g)) {
    if (!name.startsWith("node:")) imported.add(/^(?:@[^/]+\/)?[^/]+/.exec(name)?.[0] ?? name);
  }
}
const versions: Readonly<Record<string, string>> = { ...devDependencies, ...dependencies };
const entry = (name: string) => ({ types: `./client/${name}.d.ts`, default: `./client/${name}.js` });
const manifest = {
  name: "tributary",
  version,
  description: `${description} The client for Node and browsers.`,
  license,
  type: "module",
  sideEffects: false,
  engines: { node: ">=22" },
  exports: {
    "./client": { browser: entry("browser"), default: entry("node") },
    "./client/node": entry("node"),
    "./client/browser": entry("browser"),
    "./package.json": "./package.json",
  },
  files: ["client", "gen"],
  dependencies: Object.fromEntries(
    [...imported].sort().map((name) => {
      const found = versions[name];
      if (found === undefined)
        throw new Error(`the client imports ${name}, which package.json does not name`);
      return [name, found];
    }),
  ),
};
writeFileSync(join(out, "package.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
cpSync(join(root, "LICENSE"), join(out, "LICENSE"));
cpSync(join(root, "client/README.md"), join(out, "README.md"));
console.log(`the package is in ${out}: npm pack ${out}`);
