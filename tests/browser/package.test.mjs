// The npm package, as it is packed: found and read by what people build with, old and new; its types likewise.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT } from './world.mjs';

const SAMPLE = `
import Sluice, { type Identity, type Message, SluiceError, type Token } from 'sluice-client';
const token: Token = async () => 'x';
const sluice = new Sluice('http://gateway', { token, transports: ['sse'] });
sluice.on('identity', (identity: Identity) => console.log(identity.subject, identity.expires));
sluice.subscribe<{ t: number }>('a', (m: Message<{ t: number }>) => m.data.t.toFixed(), { error: (e: SluiceError) => e.code });
const how: Promise<'published' | 'accepted'> = sluice.publish('a', 1);
sluice.setToken();
sluice.close();
export default how;
`;


const require = createRequire(import.meta.url);
const TSC = join(ROOT, 'client/node_modules/typescript/bin/tsc');
const MODULES = join(ROOT, 'tests/browser/node_modules');

/** An application with the package in its node_modules. */
function install(t) {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'sluice-package-')));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const run = (file, args) => {
    try {
      return execFileSync(file, args, { cwd: directory, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    } catch (error) {
      return assert.fail(`${args.join(' ')}: ${error.stdout}${error.stderr}`);
    }
  };
  const [packed] = JSON.parse(execFileSync('npm', ['pack', '--json', '--pack-destination', directory], { cwd: join(ROOT, 'client'), encoding: 'utf8' }));
  const root = join(directory, 'node_modules/sluice-client');
  mkdirSync(root, { recursive: true });
  run('tar', ['xzf', packed.filename, '--strip-components=1', '-C', root]);
  mkdirSync(join(directory, 'node_modules/@types'));
  for (const name of ['ws', 'node']) symlinkSync(join(MODULES, '@types', name), join(directory, 'node_modules/@types', name));
  symlinkSync(join(MODULES, 'ws'), join(directory, 'node_modules/ws'));
  return { directory, root, packed, run, file: (name, text) => writeFileSync(join(directory, name), text) };
}

test('the files that npm packs', (t) => {
  const { packed } = install(t);
  assert.deepEqual(packed.files.map((file) => file.path).filter((path) => !/\/(types|elements|bindings)\//.test(path)).sort(),
    ['LICENSE', 'README.md', 'dist/cjs/package.json', 'dist/cjs/sluice-client.js', 'dist/client.js', 'dist/elements.js', 'dist/share.d.ts', 'dist/share.js', 'dist/sluice-client.js', 'dist/sluice-elements.js', 'package.json']);
});

test('import and require() in Node, also as Jest asks for a browser', (t) => {
  const { run, file } = install(t);
  file('package.json', '{}');
  const print = 'process.stdout.write([typeof Sluice, typeof SluiceError, Default === Sluice, new SluiceError("x").code].join())';
  file('a.mjs', `import Default, { Sluice, SluiceError } from 'sluice-client'; ${print}`);
  file('a.cjs', `const { default: Default, Sluice, SluiceError } = require('sluice-client'); ${print}`);
  for (const conditions of [[], ['--conditions=browser'], ['--conditions=react-native'], ['--conditions=development', '--conditions=node']]) {
    for (const name of ['a.mjs', 'a.cjs']) assert.equal(run(process.execPath, [...conditions, name]), 'function,function,true,x');
  }
});

test('Metro finds it, with and without package exports', (t) => {
  const { directory, root } = install(t);
  const { resolve } = require('metro-resolver');
  const read = (path) => (existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : null);
  const isFile = (path) => existsSync(path) && lstatSync(path).isFile();
  for (const [exports, conditions] of [[false, []], [true, ['require', 'react-native']], [true, ['import', 'react-native']]]) {
    const found = resolve({
      allowHaste: false, assetExts: new Set(), customResolverOptions: {}, dev: true, disableHierarchicalLookup: false, doesFileExist: isFile,
      fileSystemLookup: (path) => (existsSync(path) ? { exists: true, type: isFile(path) ? 'f' : 'd', realPath: path } : { exists: false }),
      extraNodeModules: null, getPackage: read, isESMImport: conditions[0] === 'import', mainFields: ['react-native', 'browser', 'main'], nodeModulesPaths: [],
      getPackageForModule: (path) => path.startsWith(root) ? { packageJson: read(join(root, 'package.json')), rootPath: root, packageRelativePath: path.slice(root.length + 1) } : null,
      originModulePath: join(directory, 'App.js'), preferNativePlatform: true, redirectModulePath: (path) => path, resolveAsset: () => null, resolveHasteModule: () => null,
      resolveHastePackage: () => null, resolveRequest: null, sourceExts: ['js', 'jsx', 'json', 'ts', 'tsx'], unstable_conditionNames: conditions,
      unstable_conditionsByPlatform: { ios: [] }, unstable_enablePackageExports: exports, unstable_incrementalResolution: false, unstable_logWarning: assert.fail,
    }, 'sluice-client', 'ios');
    assert.equal(found.filePath, join(root, conditions[0] === 'import' ? 'dist/sluice-client.js' : 'dist/cjs/sluice-client.js'));
  }
});

test('webpack 4 finds it, and its parser reads it', (t) => {
  const { directory } = install(t);
  const path = require('enhanced-resolve').create.sync({ mainFields: ['browser', 'module', 'main'], extensions: ['.wasm', '.mjs', '.js', '.json'] })(directory, 'sluice-client');
  assert.ok(path.endsWith('dist/cjs/sluice-client.js'));
  require('acorn').parse(readFileSync(path, 'utf8'), { ecmaVersion: 11, sourceType: 'script' }); // acorn 6, as in webpack 4
  assert.throws(() => require('acorn').parse('a?.b', { ecmaVersion: 11 }), 'it knows no optional chaining');
});

test('TypeScript: node10, node16 from both sides, bundler', (t) => {
  const { directory, run, file } = install(t);
  const files = ['module/sample.ts', 'commonjs/sample.ts', 'commonjs/sample.mts', 'module/sample.cts'];
  for (const type of ['module', 'commonjs']) {
    mkdirSync(join(directory, type));
    file(`${type}/package.json`, JSON.stringify({ type }));
  }
  for (const name of files) file(name, SAMPLE);
  for (const [module, resolution] of [['node16', 'node16'], ['esnext', 'bundler'], ['commonjs', 'node10']]) {
    run(process.execPath, [TSC, '--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2022,dom', '--module', module, '--moduleResolution', resolution,
      '--typeRoots', 'none', ...files.filter((name) => resolution !== 'bundler' || !name.endsWith('cts'))]);
  }
});

test("README's examples compile, without the types of a browser", (t) => {
  const { run, file } = install(t);
  const [, example] = /```js\n(import \{ Sluice \}[^]*?)```/.exec(readFileSync(join(ROOT, 'client/README.md'), 'utf8'));
  assert.match(example, /from 'ws'/);
  file('package.json', '{"type":"module"}');
  file('example.ts', example);
  run(process.execPath, [TSC, '--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2022', '--module', 'nodenext', '--moduleResolution', 'nodenext', '--types', 'node',
    '--esModuleInterop', '--skipLibCheck', 'example.ts']);
});

test('publint and arethetypeswrong have nothing to say', async (t) => {
  const { root, directory, packed } = install(t);
  const { publint } = await import('publint');
  assert.deepEqual((await publint({ pkgDir: root, pack: false, strict: true })).messages, []);
  const { checkPackage, createPackageFromTarballData } = await import('@arethetypeswrong/core');
  const analysis = await checkPackage(createPackageFromTarballData(readFileSync(join(directory, packed.filename))), {
    excludeEntrypoints: ['./client.js', './elements.js', './elements', './share', './react', './vue', './svelte'], // scripts; and a module for browsers alone
  });
  assert.deepEqual(analysis.problems, []);
  assert.ok(analysis.types);
});
