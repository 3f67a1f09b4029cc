// docs/migrating.md as it is written: the pages of a Node bridge, on the bridge and on the gateway.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { after, before, test } from 'node:test';
import mqtt from 'mqtt';
import { Server } from 'socket.io';
import { WebSocketServer } from 'ws';
import { browse, Child, freePort, ROOT, until, World } from './world.mjs';

const TEXT = readFileSync(ROOT + 'docs/migrating.md', 'utf8');
const LIBRARY = readFileSync(ROOT + 'tests/browser/node_modules/socket.io-client/dist/socket.io.min.js');

/** The blocks of code below a heading: [language, text]. */
function blocks(heading) {
  const begin = TEXT.indexOf(`\n${heading}\n`);
  assert.ok(begin >= 0, heading);
  const rest = TEXT.slice(begin + heading.length + 2);
  const section = rest.slice(0, rest.search(/\n##+ /));
  return [...section.matchAll(/^```(\w+)\n([^]*?)^```$/gm)].map(([, language, text]) => [language, text]);
}
const of = (heading, language) => blocks(heading).filter(([one]) => one === language).map(([, text]) => text);
/** What is in the place of `old`, which must be there. */
const replace = (text, old, by) => (assert.ok(text.includes(old), `${old} in ${text}`), text.replaceAll(old, by));

let browser;
before(async () => (browser = await browse()));
after(() => browser.close());

async function start(t) {
  const world = new World(t);
  await world.broker();
  const server = http.createServer((request, answer) => request.url === '/socket.io.min.js'
    ? answer.writeHead(200, { 'Content-Type': 'text/javascript' }).end(LIBRARY)
    : answer.writeHead(200, { 'Content-Type': 'text/html' }).end('<!doctype html><title>Page</title><script src="/socket.io.min.js"></script>'));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  world.keep(() => new Promise((resolve) => (server.close(resolve), server.closeAllConnections())));
  world.origin = `http://127.0.0.1:${server.address().port}`;
  world.context = await browser.newContext();
  world.keep(() => world.context.close());
  return world;
}

/** A gateway with the configuration of the page, which names another broker and other origins. */
async function gateway(world, yaml) {
  const port = await freePort();
  let text = yaml.replace(/mqtt:\/\/broker:1883/, `mqtt://127.0.0.1:${world.brokerPort}`).replace('https://page.example', world.origin);
  text = text.replace(/^ {2}username: .*\n {2}password: .*\n/m, '') + `listen: [{ address: "127.0.0.1:${port}" }]\n`;
  if (!text.includes('\nweb:')) text += `web: { origins: ["${world.origin}"] }\n`;
  const child = new Child(process.env.SLUICE_BINARY || ROOT + 'build/release/sluice', ['-c', world.file(`${port}.yaml`, text)]);
  world.keep(() => child.stop());
  await until(async () => (await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => ({}))).ok, () => child.output);
  return `127.0.0.1:${port}`;
}

/** A tab that runs the page's code, and what it painted. */
async function open(world, code) {
  const page = await world.context.newPage();
  await page.goto(world.origin);
  await page.evaluate((code) => {
    window.painted = [];
    window.paint = (...what) => window.painted.push(JSON.stringify(what));
    (0, eval)('var press;' + code);
  }, code);
  return { press: () => page.evaluate('void press()'), painted: () => page.evaluate('painted') };
}

/** The broker's messages that the devices get. */
function device(world, topic) {
  const child = new Child('mosquitto_sub', ['-p', String(world.brokerPort), '-t', topic, '-q', '1', '-v']);
  world.keep(() => child.stop());
  return child;
}

/** Paints what a device sends, and presses a button until another has got it. */
async function works(world, page, press = true) {
  const lamp = device(world, 'home/lamp');
  await until(async () => (await world.publish('home/climate', ['21.5']), (await page.painted()).includes('["home/climate","21.5"]')),
    async () => `the value: ${await page.painted()}`);
  if (!press) return;
  await until(async () => (await page.press(), lamp.output.includes('home/lamp ON')), 'the lamp');
  await until(async () => (await page.painted()).includes('["home/lamp","ON"]'), 'the echo');
}

const KEEP = '### Keep a Socket.IO page as it is';

test('a Socket.IO page runs on its bridge, and with another address on the gateway', async (t) => {
  const world = await start(t);
  const [bridge, page] = of(KEEP, 'js');
  const [before, after] = of(KEEP, 'diff')[0].trim().split('\n').map((line) => line.slice(1));
  const port = await freePort();
  const code = replace(replace(bridge, '3000', String(port)), 'mqtt://broker', `mqtt://127.0.0.1:${world.brokerPort}`).replace(/^import .*\n/gm, '');
  const { io, client } = new Function('Server', 'mqtt', `${code}; return { io, client };`)(Server, mqtt);
  world.keep(async () => (await new Promise((resolve) => io.close(resolve)), await client.endAsync(true)));

  const old = await open(world, replace(before, 'http://bridge:3000', `http://127.0.0.1:${port}`) + page);
  await works(world, old);
  const address = await gateway(world, of(KEEP, 'yaml')[0]);
  const moved = await open(world, replace(after, 'gateway:8080', address) + page);
  await works(world, moved);
  assert.deepEqual([...new Set(await moved.painted())].sort(), [...new Set(await old.painted())].sort());
});

test('a Socket.IO page with names of its own', async (t) => {
  const world = await start(t);
  const address = await gateway(world, of(KEEP, 'yaml')[1]);
  await works(world, await open(world, replace(of(KEEP, 'js')[2], 'gateway:8080', address)));
});

test('a page with a WebSocket of its own', async (t) => {
  const world = await start(t);
  const heading = '## A hand-written Node bridge';
  const [bridge, page] = of(heading, 'js');
  const port = await freePort();
  const code = replace(replace(bridge, '8080', String(port)), 'mqtt://broker', `mqtt://127.0.0.1:${world.brokerPort}`);
  const { wss, client } = new Function('WebSocketServer', 'mqtt', 'process', `${code}; return { wss, client };`)(WebSocketServer, mqtt, { env: {} });
  world.keep(async () => {
    for (const ws of wss.clients) ws.terminate();
    wss.close();
    await client.endAsync(true);
  });
  const address = await gateway(world, of(heading, 'yaml')[0]);
  const old = await open(world, `new WebSocket('ws://127.0.0.1:${port}').onmessage = (event) => { const { topic, value } = JSON.parse(event.data); paint(topic, value); };`);
  const moved = await open(world, replace(page, 'gateway:8080', address));
  await world.publish('sensors/a', ['21.5'], { retain: true });
  await until(async () => (await old.painted()).includes('["sensors/a","21.5"]'), 'the value on the bridge');
  await until(async () => (await moved.painted()).includes('["sensors/a",21.5]'), async () => `the value on the gateway: ${await moved.painted()}`);
});
