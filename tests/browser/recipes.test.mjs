// docs/recipes/: what the pages show, run as they show it; only addresses and folders are others.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { browse, Child, freePort, ROOT, until, World } from './world.mjs';

const MODULES = join(ROOT, 'tests/browser/node_modules');
let browser;
before(async () => (browser = await browse()));
after(() => browser.close());

/** The block of a recipe with that info string. */
function block(recipe, info) {
  const text = readFileSync(join(ROOT, `docs/recipes/${recipe}.md`), 'utf8');
  const found = [...text.matchAll(/^```(.*)\n([^]*?)^```$/gm)].filter((match) => match[1] === info).map((match) => match[2]);
  assert.equal(found.length, 1, `${recipe}.md: one block ${info}`);
  return found[0];
}

function replaced(text, ...changes) {
  for (const [from, to] of changes) {
    assert.ok(text.includes(from), from);
    text = text.replace(from, to);
  }
  return text;
}

/** The gateway with a recipe's configuration, its broker and its port apart. */
async function start(t, recipe) {
  const world = new World(t);
  await world.broker();
  const [, more, routes] = block(recipe, 'yaml').match(/^broker: .*\n([^]*?)^routes:\n([^]*)/m);
  world.gateway = await world.sluice(routes, more, more.includes('/sluice') ? '/sluice' : '');
  return world;
}

/** Vite's development server with index.html and main.js of the recipe. */
async function vite(world, config) {
  const port = await freePort();
  mkdirSync(join(world.directory, 'node_modules'));
  symlinkSync(join(MODULES, 'vite'), join(world.directory, 'node_modules/vite'));
  symlinkSync(join(ROOT, 'client'), join(world.directory, 'node_modules/sluice-client'));
  world.file('package.json', '{"type":"module"}');
  world.file('vite.config.js', config);
  world.file('main.js', block('vite', 'js page'));
  world.file('index.html', block('vite', 'html page'));
  const child = new Child('node', [join(MODULES, 'vite/bin/vite.js'), '--host', '127.0.0.1', '--port', String(port), '--strictPort'], { cwd: world.directory });
  world.keep(() => child.stop());
  const url = `http://127.0.0.1:${port}`;
  await until(async () => (await fetch(url).catch(() => ({}))).ok, () => child.output);
  return url;
}

async function open(world, url) {
  const context = await browser.newContext();
  world.keep(() => context.close());
  const page = await context.newPage();
  page.sockets = [];
  page.on('websocket', (socket) => page.sockets.push(new URL(socket.url()).pathname));
  await page.goto(url);
  return page;
}

test('Vite: a page on the development server reads and publishes through its proxy', async (t) => {
  const world = await start(t, 'vite');
  await world.publish('rooms/k/t', ['21.5'], { retain: true });
  const page = await open(world, await vite(world, replaced(block('vite', 'js vite'), ['http://127.0.0.1:8080', world.gateway.url])));
  await page.waitForFunction(() => document.querySelector('#value').textContent === '21.5');
  await page.click('#set');
  await page.waitForFunction(() => document.querySelector('#value').textContent === '20');
  assert.ok(page.sockets.includes('/sluice/ws'), page.sockets.join());
});

test('Node-RED: the flow is whole', () => {
  const flow = JSON.parse(block('node-red', 'json flow'));
  const ids = new Map(flow.map((node) => [node.id, node]));
  assert.equal(ids.size, flow.length);
  for (const node of flow) {
    for (const to of (node.wires ?? []).flat()) assert.ok(ids.has(to), `${node.id} leads to ${to}`);
    if (node.client) assert.equal(ids.get(node.client).type, 'websocket-client');
    if (node.type === 'switch') assert.equal(node.wires.length, node.rules.length);
  }
});

/** By the API's own schemas. */
async function faults(manifest) {
  const [version, group] = manifest.apiVersion.split('/').reverse();
  const Model = (await import(`kubernetes-models/${group ? `${group}/` : ''}${version}/${manifest.kind}`))[manifest.kind];
  try {
    new Model(manifest).validate();
  } catch (error) {
    return error.message;
  }
  return '';
}

/** The schemas let unknown members pass; those are the members that may have a value of any kind. */
async function unknown(manifest, node = manifest, path = '') {
  const found = [];
  for (const key of Object.keys(node)) {
    if (node === manifest && (key === 'kind' || key === 'apiVersion')) continue;
    const value = node[key];
    node[key] = typeof value === 'object' ? 7 : [[]];
    if (!(await faults(manifest))) found.push(`${path}/${key}`);
    node[key] = value;
    if (typeof value === 'object') found.push(...(await unknown(manifest, value, `${path}/${key}`)));
  }
  return found;
}

test('Kubernetes: the manifests are valid', async () => {
  const read = 'import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))';
  const manifests = JSON.parse(execFileSync('/usr/bin/python3', ['-c', read], { input: block('kubernetes', 'yaml kubernetes') }));
  assert.deepEqual(manifests.map((manifest) => manifest.kind), ['ConfigMap', 'Deployment', 'Service', 'Ingress']);
  for (const manifest of manifests) {
    assert.equal(await faults(manifest), '', manifest.kind);
    assert.deepEqual(await unknown(manifest), [], manifest.kind);
  }
  const [container] = manifests[1].spec.template.spec.containers;
  container.volumeMount = [];
  assert.deepEqual(await unknown(manifests[1]), ['/spec/template/spec/containers/0/volumeMount']);
  container.ports[0].containerPort = 'http';
  assert.match(await faults(manifests[1]), /containerPort/);
});

test('Helm: the manifests with everything switched on are valid', async () => {
  const manifests = JSON.parse(execFileSync('/usr/bin/python3', ['-B', join(ROOT, 'tests/support/helmchart.py')]));
  assert.deepEqual(manifests.map((manifest) => manifest.kind).sort(), ['ConfigMap', 'Deployment', 'Ingress', 'PodDisruptionBudget', 'Service']);
  for (const manifest of manifests) {
    assert.equal(await faults(manifest), '', manifest.kind);
    assert.deepEqual(await unknown(manifest), [], manifest.kind);
  }
});
