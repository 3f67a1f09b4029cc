// The npm package, as it is packed: loads in Node, and its types are understood by both kinds of module resolution.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
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

test('the package that npm packs', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-package-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const run = (file, args) => execFileSync(file, args, { cwd: directory, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  const [packed] = JSON.parse(execFileSync('npm', ['pack', '--json', '--pack-destination', directory], { cwd: join(ROOT, 'client'), encoding: 'utf8' }));
  assert.deepEqual(packed.files.map((file) => file.path).filter((path) => !path.startsWith('dist/types/')).sort(),
    ['README.md', 'dist/client.js', 'dist/sluice-client.js', 'package.json']);
  mkdirSync(join(directory, 'node_modules/sluice-client'), { recursive: true });
  run('tar', ['xzf', packed.filename, '--strip-components=1', '-C', 'node_modules/sluice-client']);
  assert.equal(run(process.execPath, ['--input-type=module', '-e', "import Sluice from 'sluice-client'; process.stdout.write(typeof Sluice)"]), 'function');
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
  writeFileSync(join(directory, 'sample.ts'), SAMPLE);
  const tsc = join(ROOT, 'client/node_modules/typescript/bin/tsc');
  for (const [module, resolution] of [['nodenext', 'nodenext'], ['esnext', 'bundler']]) {
    try {
      run(process.execPath, [tsc, '--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2022,dom', '--module', module,
        '--moduleResolution', resolution, 'sample.ts']);
    } catch (error) {
      assert.fail(`${resolution}: ${error.stdout}`);
    }
  }
});
