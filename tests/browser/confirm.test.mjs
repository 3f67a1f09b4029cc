// Commands that are confirmed by the device's state: the client in Node over every transport, the elements in Chromium.
import assert from 'node:assert/strict';
import http from 'node:http';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { Sluice } from '../../client/dist/sluice-client.js';
import { browse, Child, freePort, until, World } from './world.mjs';

const routes = (within) => `
  - topic: z/{name}
    channel: devices/{name}
    codec: json
    publish: { topic: "z/{name}/set", confirm: { field: /state, within: ${within} } }
  - { topic: plain/#, publish: {} }
`;
let browser;
before(async () => (browser = await browse()));
after(() => browser.close());

/** Somebody listens to the commands: `world.commands`; the test answers for the device. */
async function start(t, within, more = '') {
  const world = new World(t);
  await world.broker();
  world.gateway = await world.sluice(routes(within), more);
  const device = new Child('mosquitto_sub', ['-p', String(world.brokerPort), '-t', 'z/+/set', '-t', 'z/hello', '-v']);
  world.keep(() => device.stop());
  await until(async () => (await world.publish('z/hello', ['{}']), device.output.includes('z/hello')), 'the device');
  world.commands = (name) => device.output.split('\n').filter((line) => line.startsWith(`z/${name}/set `)).map((line) => line.slice(name.length + 7));
  world.says = (name, value) => world.publish(`z/${name}`, [JSON.stringify(value)]);
  return world;
}

for (const transport of ['websocket', 'sse', 'longpoll']) {
  test(`the client over ${transport}: confirmed, timeout, refused, once with a key`, async (t) => {
    const world = await start(t, '3s');
    const client = new Sluice(world.gateway.url, { WebSocket, transports: [transport] });
    world.keep(() => client.close());
    const seen = [];
    client.subscribe('devices/lamp', (message) => seen.push(message));
    await until(() => client.state === 'live', 'the client');
    const key = randomUUID();
    const send = () => client.publish('devices/lamp', { state: 'ON', transition: 1 }, { confirm: true, key });
    const outcome = send();
    await until(() => world.commands('lamp').length, 'the command');
    await world.says('lamp', { state: 'ON', brightness: 9 });
    const receipt = await outcome;
    assert.equal(receipt.status, 'confirmed');
    await until(() => seen.some((message) => message.cursor === receipt.cursor && message.data.state === 'ON'), 'the message that showed it');
    assert.deepEqual(await send(), receipt);
    assert.equal(world.commands('lamp').length, 1);
    const late = await client.publish('devices/lamp', { state: 'OFF' }, { confirm: true });
    assert.deepEqual([late.status, late.data], ['timeout', { state: 'ON', brightness: 9 }]);
    assert.equal(await client.publish('devices/lamp', { state: 'OFF' }), 'published');
    await assert.rejects(client.publish('plain/x', 1, { confirm: true }), { code: 'unsupported' });
    await assert.rejects(client.publish('devices/lamp', { state: 'OFF' }, { key }), { code: 'bad_request' });
  });
}

test('a switch and a slider with confirm="device": pending, confirmed, reverted, refused', async (t) => {
  const port = await freePort();
  const world = await start(t, '4s', `web: { origins: ["http://127.0.0.1:${port}"] }`);
  const html = `<!doctype html><title>x</title><script src="${world.gateway.url}/elements.js"></script>
    <sluice-switch id="lamp" channel="devices/lamp" path="state" label="Lamp" confirm="device"></sluice-switch>
    <sluice-slider id="dim" channel="devices/dim" path="state" label="Dim" confirm="device"></sluice-slider>
    <sluice-switch id="plain" channel="plain/x" label="Plain" confirm="device"></sluice-switch>`;
  const server = http.createServer((_, response) => response.end(html)).listen(port, '127.0.0.1');
  world.keep(() => server.close());
  for (const [name, value] of [['lamp', { state: 'OFF' }], ['dim', { state: 10 }]]) await world.says(name, value);
  await world.publish('plain/x', ['false']);
  const page = await (await browser.newContext()).newPage();
  world.keep(() => page.context().close());
  await page.goto(`http://127.0.0.1:${port}`);
  const state = (selector, wanted) => page.waitForSelector(`${selector}[data-state=${wanted}]`, { timeout: 30_000 });
  const lamp = page.getByRole('switch', { name: 'Lamp' });
  const events = await page.evaluateHandle(() => {
    const seen = [];
    for (const name of ['confirmed', 'timeout', 'refused']) document.addEventListener('sluice-' + name, (event) => seen.push([name, event.target.id, event.detail.cursor]));
    return seen;
  });
  await state('#lamp', 'live');

  await lamp.click();
  await state('#lamp', 'pending');
  assert.equal(await lamp.getAttribute('aria-checked'), 'true');
  assert.equal(await lamp.getAttribute('aria-busy'), 'true');
  await until(() => world.commands('lamp').length === 1, 'the command');
  await world.says('lamp', { state: 'ON' });
  await state('#lamp', 'confirmed');
  assert.equal(await lamp.getAttribute('aria-checked'), 'true');
  await page.getByText('Lamp: confirmed, the device has done it').waitFor({ state: 'attached' });
  await state('#lamp', 'live');

  await lamp.click(); // the device does nothing
  await state('#lamp', 'pending');
  assert.equal(await lamp.getAttribute('aria-checked'), 'false');
  await state('#lamp', 'reverted');
  assert.equal(await lamp.getAttribute('aria-checked'), 'true'); // what the device says
  assert.match(await page.getAttribute('#lamp', 'title'), /has not done it/);
  await lamp.click(); // once more, while it still says so
  await state('#lamp', 'pending');
  await until(() => world.commands('lamp').length === 3, 'the commands');
  await world.says('lamp', { state: 'OFF' });
  await state('#lamp', 'confirmed');
  assert.equal(await lamp.getAttribute('aria-checked'), 'false');

  const dim = page.getByRole('slider');
  await dim.focus();
  await page.keyboard.press('End');
  await state('#dim', 'pending');
  await state('#dim', 'reverted');
  assert.equal(await dim.inputValue(), '10');

  await state('#plain', 'live');
  await page.getByRole('switch', { name: 'Plain' }).click(); // its route confirms nothing: it is not sent
  await state('#plain', 'refused');
  const told = await events.jsonValue();
  assert.deepEqual(told.map(([name, id]) => [name, id]), [['confirmed', 'lamp'], ['timeout', 'lamp'], ['confirmed', 'lamp'], ['timeout', 'dim'], ['refused', 'plain']]);
  assert.ok(told.slice(0, 4).every(([, , cursor]) => /^\w+[\w-]*\.\d+$/.test(cursor)), JSON.stringify(told));
});

test('two tabs that share one connection each hear of their own command', async (t) => {
  const world = await start(t, '20s');
  const context = await browser.newContext();
  world.keep(() => context.close());
  const [one, two] = [await context.newPage(), await context.newPage()];
  for (const page of [one, two]) {
    await page.goto(world.gateway.url + '/healthz');
    await page.evaluate(async (url) => {
      const { Sluice } = await import(url + '/client.mjs');
      window.client = new Sluice(url, { share: true });
      await new Promise((resolve) => window.client.on('state', ({ state }) => state === 'live' && resolve()));
    }, world.gateway.url);
  }
  const send = (page, name) => page.evaluate((channel) => window.client.publish(channel, { state: 'ON' }, { confirm: true }), 'devices/' + name);
  const [first, second] = [send(one, 'a'), send(two, 'b')];
  await until(() => world.commands('a').length && world.commands('b').length, 'the commands');
  await world.says('a', { state: 'ON' });
  await world.says('b', { state: 'ON' });
  const cursor = async (name) => (await (await fetch(`${world.gateway.url}/channels/devices/${name}`)).json()).cursor;
  for (const [receipt, name] of [[await first, 'a'], [await second, 'b']])
    assert.deepEqual([receipt.status, receipt.cursor], ['confirmed', await cursor(name)]);
});
