// The elements in Chromium: pages of tags and nothing else, with devices behind a real broker.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { after, before, test } from 'node:test';
import { browse, Child, freePort, ROOT, until, World } from './world.mjs';

const KEY = 'an-api-key-that-is-long-enough-for-the-test';
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const ROUTES = `
  - { topic: "z/{name}", channel: "devices/{name}", history: { count: 500 }, publish: { topic: "z/{name}/set" } }
  - { topic: read/#, history: { count: 100 } }
`;
let browser;
before(async () => (browser = await browse()));
after(() => browser.close());

/** A gateway, and a page elsewhere whose policy forbids inline scripts and styles. */
async function start(t, body, { more = '', options = {}, script = '', whole, routes = ROUTES } = {}) {
  const world = new World(t);
  await world.broker();
  const page_port = await freePort();
  const origin = `http://127.0.0.1:${page_port}`;
  world.gateway = await world.sluice(routes, `web: { origins: ["${origin}"] }\n${more}`);
  const address = world.gateway.url;
  const html = whole ? whole(address) : `<!doctype html><html lang="en"><title>Elements</title><script src="${address}/elements.js"></script>${script && '<script src="/script.js"></script>'}<main><h1>Elements</h1>${body}</main></html>`;
  const server = http.createServer((request, response) => {
    const js = request.url === '/script.js';
    response.writeHead(200, {
      'Content-Type': js ? 'text/javascript' : 'text/html; charset=utf-8',
      'Content-Security-Policy': `default-src 'none'; script-src 'self' ${address}; connect-src ${address} ${address.replace('http', 'ws')}; img-src data:`,
    });
    response.end(js ? script : html);
  }).listen(page_port, '127.0.0.1');
  world.keep(() => server.close());
  world.open = async () => {
    const context = await browser.newContext(options);
    world.keep(() => context.close());
    const page = await context.newPage();
    page.setDefaultTimeout(60_000);
    page.faults = [];
    page.on('pageerror', (error) => page.faults.push(String(error)));
    page.on('console', (message) => message.type() === 'error' && page.faults.push(message.text()));
    await page.goto(origin);
    return page;
  };
  /** Takes commands and says what it did, as Zigbee2MQTT does. */
  world.device = async (name) => {
    const port = String(world.brokerPort);
    const child = new Child('/bin/sh', ['-c',
      `mosquitto_sub -p ${port} -t 'z/${name}/set' | while IFS= read -r line; do mosquitto_pub -p ${port} -r -t 'z/${name}' -m "$line"; done`], { detached: true });
    world.keep(() => {
      process.kill(-child.process.pid, 'SIGKILL');
      return child.ended;
    });
    // It is there when it answers.
    await until(async () => {
      await world.publish(`z/${name}/set`, ['{"state":"OFF","brightness":10}']);
      return (await fetch(`${address}/channels/devices%2F${name}`)).ok;
    }, 'the device');
  };
  return world;
}

const state = (page, selector, wanted) => page.waitForSelector(`${selector}[data-state=${wanted}]`);
const shown = (page, selector, text) => page.locator(selector).getByText(text, { exact: true }).first().waitFor();

test('the page of docs/elements.md', async (t) => {
  const [, page] = /```html\n(.*?)```/s.exec(readFileSync(join(ROOT, 'docs/elements.md'), 'utf8'));
  const world = await start(t, '', { whole: (address) => page.replaceAll('http://localhost:8080', address), routes: '  - { topic: "#", history: { count: 100 } }' });
  await world.publish('kitchen/climate', ['{"temperature":21.04,"humidity":50}'], { retain: true });
  await world.publish('devices/lamp', ['{"state":"ON","brightness":100}'], { retain: true });
  const tab = await world.open();
  for (const name of ['value', 'switch', 'slider', 'gauge', 'chart', 'log']) await tab.waitForSelector(`sluice-${name}[data-state=live]`);
  assert.equal(await tab.getByRole('switch', { name: 'Lamp' }).getAttribute('aria-checked'), 'true');
  assert.equal(await tab.getByRole('slider').inputValue(), '100');
});

test('small with the client', () => {
  const size = gzipSync(readFileSync(join(ROOT, 'client/dist/elements.js')), { level: 9 }).length;
  assert.ok(size < 15_000, String(size));
});

test('a value: at once, live, stale while the broker or the gateway is away, and when it is old', async (t) => {
  const world = await start(t, `
    <sluice-value id="v" channel="read/room" path="climate.t" unit="°C" digits="1" label="Room"></sluice-value>
    <sluice-value id="old" channel="read/old" max-age="1s"></sluice-value>
    <sluice-value id="none" channel="read/none"></sluice-value>
    <sluice-value id="foreign" channel="elsewhere/x"></sluice-value>
    <sluice-value id="broken"></sluice-value>`);
  await world.publish('read/room', ['{"climate":{"t":21.04}}'], { retain: true });
  await world.publish('read/old', ['true'], { retain: true });
  const page = await world.open();
  await state(page, '#v', 'live');
  await shown(page, '#v', '21.0');
  await shown(page, '#v', '°C');
  await world.publish('read/room', ['{"climate":{"t":22.06}}']);
  await shown(page, '#v', '22.1');
  await state(page, '#old', 'stale');
  await shown(page, '#old', 'on');
  await state(page, '#none', 'waiting');
  await state(page, '#foreign', 'refused');
  assert.match(await page.getAttribute('#foreign', 'title'), /unknown_channel/);
  await state(page, '#broken', 'refused');
  await world.publish('read/old', ['false']);
  await state(page, '#old', 'live');
  await world.stopBroker();
  await state(page, '#v', 'stale');
  await page.locator('#v').getByText(/Room: stale, the broker/).waitFor({ state: 'attached' });
  await world.startBroker();
  await state(page, '#v', 'live');
  await world.gateway.stop('SIGKILL');
  await state(page, '#v', 'stale');
  await world.gateway.start();
  await state(page, '#v', 'live');
  // Another channel by its attribute: the old value does not stay.
  await world.publish('read/second', ['7'], { retain: true });
  await page.evaluate(() => { document.querySelector('#v').removeAttribute('path'); document.querySelector('#v').setAttribute('channel', 'read/second'); });
  await shown(page, '#v', '7.0');
});

test('a switch: pending, confirmed by the device, unconfirmed without one, refused', async (t) => {
  const world = await start(t, `
    <sluice-switch id="lamp" channel="devices/lamp" path="state" label="Lamp"></sluice-switch>
    <sluice-switch id="dead" channel="devices/dead" path="state" label="Dead lamp" confirm="300ms"></sluice-switch>
    <sluice-switch id="locked" channel="read/lock" label="Lock"></sluice-switch>
    <sluice-switch id="other" channel="read/relay" to="devices/relay" on="1" off="0" bare label="Relay" confirm="0s"></sluice-switch>`);
  await world.device('lamp');
  await world.publish('z/dead', ['{"state":"OFF"}'], { retain: true });
  await world.publish('read/lock', ['false'], { retain: true });
  await world.publish('read/relay', ['0'], { retain: true });
  const page = await world.open();
  const button = (name) => page.getByRole('switch', { name, exact: true });
  const checked = (name, wanted) => until(async () => (await button(name).getAttribute('aria-checked')) === wanted, `${name} ${wanted}`);
  await state(page, '#lamp', 'live');
  await checked('Lamp', 'false');
  await button('Lamp').focus();
  await page.keyboard.press('Space');
  await checked('Lamp', 'true');
  await state(page, '#lamp', 'live');
  assert.equal((await (await fetch(world.gateway.url + '/channels/devices%2Flamp')).json()).data.state, 'ON');
  await world.publish('z/lamp', ['{"state":"OFF"}'], { retain: true }); // somebody at the wall
  await checked('Lamp', 'false');

  await state(page, '#dead', 'live');
  await button('Dead lamp').click();
  await state(page, '#dead', 'unconfirmed');
  await world.publish('z/dead', ['{"state":"ON"}'], { retain: true });
  await state(page, '#dead', 'live');
  await checked('Dead lamp', 'true');

  await state(page, '#locked', 'live');
  const refused = page.evaluate(() => new Promise((resolve) => document.addEventListener('sluice-refused', (event) => resolve(event.detail.code))));
  await button('Lock').click();
  await state(page, '#locked', 'refused');
  assert.equal(await refused, 'forbidden');
  await checked('Lock', 'false');

  await state(page, '#other', 'live');
  const relay = new Child('mosquitto_sub', ['-p', String(world.brokerPort), '-t', 'z/relay/set', '-C', '1', '-W', '60']);
  await until(async () => {
    await button('Relay').click();
    return relay.process.exitCode !== null;
  }, 'the relay');
  assert.match(relay.output, /^[01]\n$/);
});

test('a slider by keyboard, and what a device says while it is held', async (t) => {
  const world = await start(t, '<sluice-slider id="s" channel="devices/lamp" path="brightness" min="0" max="254" step="2" label="Brightness"></sluice-slider>');
  await world.device('lamp');
  const page = await world.open();
  await state(page, '#s', 'live');
  const slider = page.getByRole('slider', { name: 'Brightness' });
  const is = (wanted) => until(async () => (await slider.inputValue()) === wanted, wanted);
  await is('10');
  await slider.focus();
  await page.keyboard.press('ArrowRight');
  await is('12');
  await until(async () => (await (await fetch(world.gateway.url + '/channels/devices%2Flamp')).json()).data.brightness === 12, 'the device');
  await state(page, '#s', 'live');
  await world.publish('z/lamp', ['{"brightness":100}'], { retain: true });
  await is('100');
  // In the middle of a movement nothing jumps.
  await page.evaluate(() => {
    const input = document.querySelector('#s').shadowRoot.querySelector('input');
    input.value = '50';
    input.dispatchEvent(new Event('input'));
  });
  await world.publish('z/lamp', ['{"brightness":200}'], { retain: true });
  await until(async () => (await (await fetch(world.gateway.url + '/channels/devices%2Flamp')).json()).data.brightness === 200, 'the value');
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 100)));
  assert.equal(await slider.inputValue(), '50');
});

test('a chart with its past, a gauge, a picture, a log', async (t) => {
  const world = await start(t, `
    <sluice-chart id="c" channel="read/room" path="t,h" span="1h" label="Climate"></sluice-chart>
    <sluice-gauge id="g" channel="read/tank" min="0" max="50" unit="l" label="Tank"></sluice-gauge>
    <sluice-image id="i" channel="read/camera" alt="Front door"></sluice-image>
    <sluice-image id="n" channel="read/tank" alt="No picture"></sluice-image>
    <sluice-log id="l" channel="read/alarms/#" lines="5" label="Alarms"></sluice-log>`);
  await world.publish('read/room', Array.from({ length: 40 }, (_, i) => `{"t":${20 + i / 10},"h":${40 + i}}`));
  await world.publish('read/tank', ['20'], { retain: true });
  const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAYAAABytg0kAAAAEUlEQVR42mP8z8BQz0AEYBxVSF+FABJADveWkH6oAAAAAElFTkSuQmCC', 'base64');
  const camera = new Child('mosquitto_pub', ['-p', String(world.brokerPort), '-r', '-t', 'read/camera', '-f', world.file('camera.png', png)]);
  await camera.ended;
  const page = await world.open();
  await until(async () => /chart of t 23.9, h 79; between 20 and 79/.test(await page.locator('#c canvas').getAttribute('aria-label')), 'the past');
  await world.publish('read/room', ['{"t":30,"h":90}']);
  await until(async () => /chart of t 30, h 90; between 20 and 90/.test(await page.locator('#c canvas').getAttribute('aria-label')), 'live');
  const coloured = await page.evaluate(() => {
    const canvas = document.querySelector('#c').shadowRoot.querySelector('canvas');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let i = 0; i < data.length; i += 4) count += data[i + 3] > 200 && data[i] !== data[i + 1];
    return count;
  });
  assert.ok(coloured > 50, String(coloured));
  const meter = page.getByRole('meter', { name: 'Tank' });
  assert.equal(await meter.getAttribute('aria-valuenow'), '20');
  assert.equal(await meter.getAttribute('aria-valuetext'), '20 l');
  await until(() => page.evaluate(() => document.querySelector('#i').shadowRoot.querySelector('img').naturalWidth === 2), 'the picture');
  await page.locator('#n').getByText('No picture: this is no picture').waitFor();
  for (let i = 0; i < 12; i++) await world.publish(`read/alarms/a${i % 2}`, [`"alarm ${i}"`]);
  await page.locator('#l').getByText('alarm 11').waitFor();
  assert.equal(await page.locator('#l li').count(), 5);
  assert.deepEqual(page.faults, []);
});

/** How much of the canvas has the colour of a line, in its upper third and elsewhere. */
const drawn = (page) => page.evaluate(() => {
  const canvas = document.querySelector('#c').shadowRoot.querySelector('canvas');
  const { data, width, height } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const found = { top: 0, below: 0 };
  for (let i = 0; i < data.length; i += 4)
    if (data[i + 3] > 60 && Math.abs(data[i] - data[i + 1]) > 40) found[i / 4 / width < height / 3 ? 'top' : 'below']++;
  return found;
});
const says = (page, text) => until(async () => (await page.locator('#c canvas').getAttribute('aria-label')).includes(text), text);

test('a chart of a span: what only a rollup has, its spike, and live from there, through a refusal, a reload and a kill', async (t) => {
  const disk = mkdtempSync(join(tmpdir(), 'sluice-'));
  t.after(() => rmSync(disk, { recursive: true }));
  const world = await start(t, '<sluice-chart id="c" channel="roll/wave" path="a/b.t" span="1h" label="Wave"></sluice-chart>', {
    routes: '  - { topic: roll/#, history: { store: disk, count: 10, rollup: { fields: ["/a~1b/t"], every: 1s, keep: 1h } } }',
    more: `storage: { path: ${disk}/history.db }`,
  });
  const value = (number) => JSON.stringify({ 'a/b': { t: number } });
  await world.publish('roll/wave', Array.from({ length: 300 }, (_, i) => value(i === 134 ? 500 : 20 + (i % 10))));
  const page = await world.open();
  await says(page, 't 29; between 20 and 500');
  assert.ok((await drawn(page)).top > 20, 'the spike is seen');
  await world.publish('roll/wave', [value(900)]);
  await says(page, 't 900; between 20 and 900');

  let refused = 0;
  await page.route('**/series?**', (route) => (refused++ ? route.continue() : route.fulfill({ status: 503, body: '{}' })));
  await page.reload();
  await says(page, 't 900; between 20 and 900'); // asked again
  assert.ok(refused > 1);
  // Another run of the gateway tells of a gap; what it has on the disk is still there.
  await world.gateway.stop('SIGKILL');
  await world.gateway.start();
  await world.publish('roll/wave', [value(30)]);
  await says(page, 't 30; between 20 and 900');
  // The clock of whoever looks is wrong by more than the span.
  await page.addInitScript(() => {
    const real = Date.now;
    Date.now = () => real() + 30 * 3_600_000;
  });
  await page.reload();
  await says(page, 't 30; between 20 and 900');
  await until(async () => (await drawn(page)).top > 20, 'the past');
  assert.deepEqual(page.faults.filter((fault) => !/503|ERR_CONNECTION|WebSocket/.test(fault)), []);
});

test('a chart counts nothing twice and loses nothing while its past is on the way; gaps part its line; without a span all there is', async (t) => {
  const world = await start(t, '<sluice-chart id="c" channel="read/room" span="1h" label="Room"></sluice-chart>');
  await world.publish('read/room', ['{"name":"x","t":1,"h":50}', '{"t":2,"h":51}']);
  const page = await world.open();
  await says(page, 't 2; between 1 and 2');
  // A hole that the gateway knows of, between two windows: no line across it.
  await world.publish('read/room', ['{"t":5}']);
  await says(page, 't 5');
  const now = Date.now(), level = [5, 5, 5, 5];
  let answer = { t: [now - 3e6, now - 2e6, now - 1e6, now - 5e5], min: level, max: level, last: level, step: 1000, gaps: [], cursor: 'other.1' };
  await page.route('**/series?**', async (route) => {
    await world.publish('read/room', ['{"t":7}']); // while the answer is on its way
    await says(page, 't 7; between');
    await route.fulfill({ json: answer });
  });
  const part = async () => {
    await page.reload();
    await says(page, 't 7; between 5 and 7');
    await until(async () => (await drawn(page)).below > 800, 'the past');
    return (await drawn(page)).below;
  };
  const whole = await part();
  answer = { ...answer, gaps: [[now - 1.9e6, now - 1.1e6]] };
  const parted = await part();
  assert.ok(parted < whole * 0.85 && parted > whole * 0.4, `${parted} of ${whole}`);
  await page.evaluate(() => document.querySelector('#c').removeAttribute('span'));
  await says(page, 't 7; between 1 and 7');
  assert.deepEqual(page.faults, []);
});

test('one connection for all elements, and a client with a token of one’s own', async (t) => {
  const auth = `auth: { api_keys: [{ name: page, hash: "sha256:${createHash('sha256').update(KEY).digest('hex')}", roles: all }] }
roles: { all: { subscribe: ["#"] } }`;
  const many = Array.from({ length: 50 }, (_, i) => `<sluice-value channel="read/${i}"></sluice-value>`).join('');
  const world = await start(t, `<sluice-value id="v" channel="read/x"></sluice-value>${many}`, {
    more: auth, script: `window.SluiceElements && SluiceElements.use(new Sluice('', { token: () => '${KEY}' }));`,
  });
  await world.publish('read/x', ['5'], { retain: true });
  const page = await world.open();
  await shown(page, '#v', '5');
  const metrics = await (await fetch(world.gateway.url + '/metrics')).text();
  assert.match(metrics, /^sluice_sessions 1$/m);
  assert.deepEqual(page.faults, []);
});

for (const colorScheme of ['light', 'dark']) {
  test(`axe finds nothing (${colorScheme})`, async (t) => {
    const world = await start(t, `
      <sluice-value channel="read/a" unit="W"></sluice-value><sluice-value channel="nowhere"></sluice-value>
      <sluice-switch channel="devices/a" path="state" label="Lamp"></sluice-switch>
      <sluice-slider channel="devices/a" path="brightness" label="Brightness"></sluice-slider>
      <sluice-gauge channel="read/a" label="Power"></sluice-gauge><sluice-chart channel="read/a" label="Power, drawn"></sluice-chart>
      <sluice-log channel="read/#" label="All"></sluice-log><sluice-image channel="read/none" alt="Picture"></sluice-image>`, { options: { colorScheme, bypassCSP: true } });
    await world.publish('z/a', ['{"state":"ON","brightness":3}'], { retain: true });
    await world.publish('read/a', ['3'], { retain: true });
    const page = await world.open();
    await state(page, 'sluice-switch', 'live');
    await page.evaluate((dark) => {
      document.documentElement.style.cssText = dark ? 'background: #10161c; color: #e6edf3; --sluice-accent: #4fc3d4; --sluice-bad: #ff9a8f' : 'background: #fff; color: #16202a';
    }, colorScheme === 'dark');
    await page.addScriptTag({ content: AXE });
    const { violations } = await page.evaluate(() => axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
    assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map(({ html, failureSummary }) => html.slice(0, 200) + failureSummary)]), []);
  });
}
