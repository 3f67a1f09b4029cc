// permessage-deflate (web.compression) with npm's ws and in Chromium, which offer it with parameters of their own.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { browse, until, World } from './world.mjs';

const ROUTES = `
  - topic: n/#
    history: { count: 2000 }
    publish: {}
`;
const COUNT = 500;
const reading = (n) => ({ n, battery: n % 100, values: Array.from({ length: n % 60 }, (_, i) => ({ measured: i * n, unit: '°C' })) });

async function start(t, more) {
  const world = new World(t);
  await world.broker();
  world.gateway = await world.sluice(ROUTES, more);
  world.ws = world.gateway.url.replace('http', 'ws') + '/ws';
  return world;
}

const metric = async (world, name) =>
  Number((await (await fetch(world.gateway.url + '/metrics')).text()).match(new RegExp(`^${name} (\\S+)$`, 'm'))[1]);

const publish = (world) => world.publish('n/a', Array.from({ length: COUNT }, (_, n) => JSON.stringify(reading(n))));

test('ws of npm, its parameters and none', async (t) => {
  const world = await start(t, 'web: { compression: true }\n');
  const offers = [true, { serverMaxWindowBits: 12, clientMaxWindowBits: 9 }, { serverNoContextTakeover: true, clientNoContextTakeover: true },
    { serverMaxWindowBits: 10 }, false];
  const clients = await Promise.all(offers.map(async (perMessageDeflate) => {
    const ws = new WebSocket(world.ws, { perMessageDeflate });
    world.keep(() => ws.terminate());
    const client = { ws, frames: [] };
    ws.on('message', (data) => client.frames.push(JSON.parse(data)));
    await new Promise((resolve, reject) => ws.once('open', resolve).once('error', reject));
    ws.send(JSON.stringify({ type: 'subscribe', id: 'x'.repeat(3000), channel: 'n/a' })); // large enough for ws to compress it
    await until(() => client.frames.some((frame) => frame.type === 'subscribed'), 'subscribed');
    client.frames.length = 0;
    return client;
  }));
  assert.deepEqual(clients.map(({ ws }) => ws.extensions), ['permessage-deflate', 'permessage-deflate', 'permessage-deflate', '', '']);
  await publish(world);
  for (const { frames } of clients) {
    await until(() => frames.length === COUNT, () => `got ${frames.length}`);
    assert.deepEqual(frames, clients[0].frames);
  }
  assert.deepEqual(clients[0].frames.map((frame) => frame.data), Array.from({ length: COUNT }, (_, n) => reading(n)));
  const made = await metric(world, 'sluice_compressed_total');
  assert.ok(made > COUNT / 2 && made <= COUNT, `${made}`);
});

test('Chromium', async (t) => {
  const browser = await browse();
  t.after(() => browser.close());
  for (const [more, expected] of [['web: { compression: true }\n', 'permessage-deflate; server_no_context_takeover; client_no_context_takeover'], ['', '']]) {
    const world = await start(t, more);
    const page = await browser.newPage();
    await page.goto(world.gateway.url + '/healthz');
    await page.evaluate(`
      got = []; subscribed = false;
      ws = new WebSocket('${world.ws}');
      ws.onopen = () => ws.send(JSON.stringify({ type: 'subscribe', id: 1, channel: 'n/a', note: 'x'.repeat(5000) }));
      ws.onmessage = (event) => {
        const frame = JSON.parse(event.data);
        if (frame.type === 'message') got.push(frame.data);
        if (frame.type === 'subscribed') subscribed = true;
      };`);
    await until(() => page.evaluate('subscribed'), 'subscribed');
    assert.equal(await page.evaluate('ws.extensions'), expected);
    await publish(world);
    await until(() => page.evaluate(`got.length === ${COUNT}`), 'all messages');
    assert.deepEqual(await page.evaluate('got'), Array.from({ length: COUNT }, (_, n) => reading(n)));
    assert.equal((await metric(world, 'sluice_compressed_total')) > 0, expected !== '');
    await page.close();
  }
});
