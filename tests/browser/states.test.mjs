// What a channel's state is, by the client: over each transport, after a break, and after a restart of the gateway.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import WebSocket from 'ws';
import { Sluice } from '../../client/dist/sluice-client.js';
import { browse, until, World } from './world.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const ROUTES = `
  - { topic: 'short/{id}', stale: 300ms }
  - { topic: 'long/{id}', stale: 1h, available: { topic: 'word/{id}' } }
`;

async function start(t) {
  const world = new World(t);
  await world.broker();
  world.gateway = await world.sluice(ROUTES);
  return world;
}

for (const transport of ['websocket', 'sse', 'longpoll'])
  test(`a state over ${transport}`, async (t) => {
    const world = await start(t);
    const client = new Sluice(world.gateway.url, { WebSocket, transports: [transport] });
    world.keep(() => client.close());
    const told = [];
    client.on('status', ({ channel, state }) => told.push(`${channel} ${state}`));
    const got = [];
    client.subscribe('#', ({ data }) => got.push(data));
    await until(() => client.state === 'live', 'the client');
    await world.publish('short/a', ['1']);
    await world.publish('long/a', ['2']);
    await until(() => client.status('short/a')?.state === 'stale', 'stale');
    assert.equal(client.status('long/a'), undefined);
    await world.publish('word/a', ['offline']);
    await until(() => client.status('long/a')?.state === 'offline', 'offline');
    const { since, seen } = client.status('long/a');
    assert.ok(since >= seen && since - Date.now() < 60_000);
    await world.publish('word/a', ['online']);
    await until(() => client.status('long/a').state === 'live', 'live');
    assert.deepEqual(got, [1, 2]);
    assert.deepEqual(told.filter((one) => one.startsWith('long')), ['long/a offline', 'long/a live']);
    const late = new Sluice(world.gateway.url, { WebSocket, transports: [transport] });
    world.keep(() => late.close());
    late.subscribe('short/a', () => {});
    await until(() => late.status('short/a')?.state === 'stale', 'what a new client hears');
  });

test('the dashboard and an element grey what is not live, and say since when', async (t) => {
  const world = await start(t);
  const browser = await browse();
  world.keep(() => browser.close());
  const page = await browser.newPage();
  page.setDefaultTimeout(60_000);
  await page.goto(world.gateway.url);
  await page.addScriptTag({ url: '/elements.js' });
  await page.evaluate(() => document.body.insertAdjacentHTML('beforeend', '<sluice-value id="v" channel="long/a"></sluice-value>'));
  await world.publish('long/a', ['1']);
  await page.waitForSelector('#v[data-state=live]');
  await page.waitForSelector('[data-channel="long/a"]:not(.doubtful)');
  await world.publish('word/a', ['offline']);
  await page.waitForSelector('#v[data-state=stale][title^="the device is offline since"]');
  await page.waitForSelector('[data-channel="long/a"].doubtful > [title^="offline since"]');
  await page.locator('[data-channel="long/a"] [data-field=doubt]', { hasText: 'offline' }).waitFor(); // a phone shows no tooltip
  await page.evaluate(AXE);
  assert.deepEqual(await page.evaluate(async () => (await axe.run('main')).violations.map(({ id }) => id)), []);
  await world.publish('word/a', ['online']);
  await page.waitForSelector('#v[data-state=live]');
  await page.waitForSelector('[data-channel="long/a"]:not(.doubtful)');
});
