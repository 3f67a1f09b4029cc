// Makes dist/ from src/: the client (ES module, script, types) and the dashboard. dist/ is committed, so that building the
// gateway needs no Node; a test fails if it is stale.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { build, transform } from 'esbuild';
import { minify } from 'terser';
import { isWithin, shortNames } from './private.mjs';

process.chdir(new URL('.', import.meta.url).pathname);
const out = process.argv[2] || 'dist';
const common = { bundle: true, minify: true, target: 'es2020', legalComments: 'none', charset: 'utf8', logLevel: 'warning' };

/** The package's elements use the package's client, not a copy of it. */
const beside = {
  name: 'beside',
  setup: ({ onResolve }) => onResolve({ filter: /client\/index\.js$/ }, () => ({ path: './sluice-client.js', external: true })),
};

/** The styles of the elements are texts in their sources. */
const styles = {
  name: 'styles',
  setup: ({ onLoad }) => onLoad({ filter: /\/elements\/\w+\.ts$/ }, async ({ path }) => {
    const parts = readFileSync(path, 'utf8').split(/((?:css|BASE) = `)([^`]*)/);
    for (let i = 2; i < parts.length; i += 3) parts[i] = (await transform(parts[i], { loader: 'css', minify: true })).code.trim();
    return { contents: parts.join(''), loader: 'ts' };
  }),
};
// Browsers that have adopted style sheets know this syntax.
const elements = { target: 'es2022', plugins: [styles] };

/** What pages load: as small as it gets. */
async function bundle(entry, format, file, options = {}) {
  const { target } = { ...common, ...options };
  await build({ ...common, ...options, entryPoints: [`src/${entry}.ts`], format, outfile: `${out}/${file}` });
  const { code } = await minify(readFileSync(`${out}/${file}`, 'utf8'), { ecma: Number(target.slice(2)), module: format === 'esm', compress: { passes: 2 } });
  writeFileSync(`${out}/${file}`, code + '\n');
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
await bundle('client/index', 'esm', 'sluice-client.js');
await bundle('client/iife', 'iife', 'client.js');
await bundle('elements/script', 'iife', 'elements.js', { ...elements, ...shortNames('src/elements/script.ts', isWithin, ['src/share/module.ts']) });
await bundle('elements/index', 'esm', 'sluice-elements.js', { ...elements, plugins: [styles, beside] });
await bundle('share/index', 'esm', 'share.js', { plugins: [beside] });
await bundle('share/module', 'esm', 'share.mjs');
await bundle('client/module', 'esm', 'client.mjs');
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
