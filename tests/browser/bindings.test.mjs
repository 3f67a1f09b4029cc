// React in Chromium, Vue and Svelte in Node: the bindings as they are published, with the frameworks from npm.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { derived, get } from 'svelte/store';
import { effectScope, nextTick, ref } from 'vue';
import WebSocket from 'ws';
import { Sluice } from '../../client/dist/sluice-client.js';
import { channel, state } from '../../client/dist/bindings/svelte.js';
import { browse, ROOT, until, World } from './world.mjs';

const { build } = createRequire(join(ROOT, 'client/'))('esbuild');
const HERE = new URL('.', import.meta.url).pathname;

async function start(t) {
  const world = new World(t);
  await world.broker();
  world.gateway = await world.sluice('  - topic: n/#');
  world.sluice = new Sluice(world.gateway.url, { WebSocket });
  world.keep(() => world.sluice.close());
  return world;
}

/** A binding whose imports are found here: the client's own folder has no frameworks. */
const load = async (world, name) => {
  const outfile = join(HERE, 'node_modules', `.${name}-${process.pid}.mjs`);
  await build({ entryPoints: [join(ROOT, `client/dist/bindings/${name}.js`)], bundle: true, format: 'esm', external: ['vue'], outfile });
  world.keep(() => rmSync(outfile));
  return import(outfile);
};

test('Vue: a ref that follows its channel and ends with its scope', async (t) => {
  const world = await start(t);
  const { useChannel, useSluiceState } = await load(world, 'vue');
  await world.publish('n/a', [1], { retain: true });
  await world.publish('n/b', [2], { retain: true });
  const name = ref('n/a');
  const scope = effectScope();
  const [message, connection] = scope.run(() => [useChannel(world.sluice, name), useSluiceState(world.sluice)]);
  await until(() => message.value?.data === 1, 'the last value');
  assert.equal(connection.value, 'live');
  await world.publish('n/a', [3]);
  await until(() => message.value.data === 3, 'a live value');
  name.value = 'n/b';
  await nextTick();
  await until(() => message.value?.data === 2, 'the other channel');
  scope.stop();
  await world.publish('n/b', [4]);
  assert.equal((await world.sluice.get('n/b')).data, 4);
  assert.equal(message.value.data, 2);
});

test('Svelte: stores', async (t) => {
  const world = await start(t);
  await world.publish('n/a', ['{"t":1}'], { retain: true });
  const double = derived(channel(world.sluice, 'n/a'), (message) => message && message.data.t * 2);
  const seen = [];
  const end = double.subscribe((value) => seen.push(value));
  await until(() => seen.at(-1) === 2, 'the last value');
  assert.equal(seen[0], undefined);
  await world.publish('n/a', ['{"t":2}']);
  await until(() => seen.at(-1) === 4, 'a live value');
  end();
  assert.equal(get(state(world.sluice)), 'live');
});

test('React: hooks, also in StrictMode', async (t) => {
  const world = await start(t);
  await world.publish('n/a', [1], { retain: true });
  await world.publish('n/b', [2], { retain: true });
  const { outputFiles } = await build({
    stdin: {
      resolveDir: HERE, loader: 'js', contents: `
        import { createElement as h, StrictMode, useState } from 'react';
        import { createRoot } from 'react-dom/client';
        import { useChannel, useSluiceState } from '../../client/dist/bindings/react.js';
        const sluice = new Sluice('');
        const App = () => {
          const [name, setName] = useState('n/a');
          const message = useChannel(sluice, name);
          return h('button', { onClick: () => setName('n/b') }, useSluiceState(sluice) + ' ' + name + ' ' + message?.data);
        };
        createRoot(document.body.appendChild(document.createElement('div'))).render(h(StrictMode, null, h(App)));`,
    },
    bundle: true, format: 'iife', write: false, nodePaths: [join(HERE, 'node_modules')], define: { 'process.env.NODE_ENV': '"development"' },
  });
  const browser = await browse();
  world.keep(() => browser.close());
  const page = await (await browser.newContext({ bypassCSP: true })).newPage();
  page.setDefaultTimeout(60_000);
  const faults = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && !/favicon/.test(message.location().url) && faults.push(message.text()));
  await page.goto(world.gateway.url + '/healthz');
  await page.addScriptTag({ url: world.gateway.url + '/client.js' });
  await page.addScriptTag({ content: outputFiles[0].text });
  const shows = (text) => page.getByRole('button', { name: text, exact: true }).waitFor();
  await shows('live n/a 1');
  await world.publish('n/a', [3]);
  await shows('live n/a 3');
  await page.getByRole('button').click();
  await shows('live n/b 2');
  assert.deepEqual(faults, []);
});
