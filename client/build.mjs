// Makes dist/ from src/: the client (ES module, script, types) and the dashboard. dist/ is committed, so that building the
// gateway needs no Node; a test fails if it is stale.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { build } from 'esbuild';

process.chdir(new URL('.', import.meta.url).pathname);
const out = process.argv[2] || 'dist';
const common = { bundle: true, minify: true, target: 'es2020', legalComments: 'none', charset: 'utf8', logLevel: 'warning' };

/** The package's elements use the package's client, not a copy of it. */
const beside = {
  name: 'beside',
  setup: ({ onResolve }) => onResolve({ filter: /client\/index\.js$/ }, () => ({ path: './sluice-client.js', external: true })),
};

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
await build({ ...common, entryPoints: ['src/client/index.ts'], format: 'esm', outfile: `${out}/sluice-client.js` });
await build({ ...common, entryPoints: ['src/client/iife.ts'], format: 'iife', outfile: `${out}/client.js` });
await build({ ...common, entryPoints: ['src/elements/script.ts'], format: 'iife', outfile: `${out}/elements.js` });
await build({ ...common, entryPoints: ['src/elements/index.ts'], format: 'esm', plugins: [beside], outfile: `${out}/sluice-elements.js` });
await build({ ...common, entryPoints: ['src/share/index.ts'], format: 'esm', plugins: [beside], outfile: `${out}/share.js` });
await build({ ...common, entryPoints: ['src/share/module.ts'], format: 'esm', outfile: `${out}/share.mjs` });
await build({ ...common, entryPoints: ['src/client/module.ts'], format: 'esm', outfile: `${out}/client.mjs` });
for (const name of ['react', 'vue', 'svelte'])
  await build({ ...common, entryPoints: [`src/bindings/${name}.ts`], format: 'esm', external: ['react', 'vue'], outfile: `${out}/bindings/${name}.js` });
// For require(), Jest and Metro, and in the syntax that webpack 4 reads.
await build({ ...common, target: 'es2019', entryPoints: ['src/client/index.ts'], format: 'cjs', outfile: `${out}/cjs/sluice-client.js` });
await build({ ...common, entryPoints: ['src/dashboard/main.ts'], format: 'iife', outfile: `${out}/dashboard.js` });
await build({ ...common, entryPoints: ['src/dashboard/style.css'], outfile: `${out}/dashboard.css` });
for (const file of ['index.html', 'favicon.svg', 'favicon-down.svg']) cpSync(`src/dashboard/${file}`, `${out}/${file}`);
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.', '--noEmit', 'false', '--emitDeclarationOnly', '--declaration',
  '--outDir', `${out}/all`], { stdio: 'inherit' });
for (const file of ['iife', 'module']) rmSync(`${out}/all/client/${file}.d.ts`);
writeFileSync(`${out}/share.d.ts`, readFileSync(`${out}/all/share/index.d.ts`, 'utf8').replaceAll("'../client/", "'./types/"));
cpSync(`${out}/all/elements`, `${out}/elements`, { recursive: true });
rmSync(`${out}/elements/script.d.ts`);
cpSync(`${out}/all/bindings`, `${out}/bindings`, { recursive: true });
for (const file of ['elements', 'bindings'].flatMap((folder) => readdirSync(`${out}/${folder}`).map((name) => `${folder}/${name}`))) {
  const path = `${out}/${file}`;
  writeFileSync(path, readFileSync(path, 'utf8').replaceAll("'../client/", "'../types/"));
}
// The same twice: TypeScript takes a file's kind from the package.json above it.
for (const folder of ['types', 'cjs/types']) cpSync(`${out}/all/client`, `${out}/${folder}`, { recursive: true });
writeFileSync(`${out}/cjs/package.json`, '{ "type": "commonjs" }\n');
rmSync(`${out}/all`, { recursive: true });
