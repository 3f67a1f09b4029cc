// Pictures from devices in Chromium: <img>, the element, the dashboard, a stream; and payloads that would like to be a page.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { crc32, deflateSync } from 'node:zlib';
import { browse, freePort, until, World } from './world.mjs';

const KEY = 'an-api-key-that-is-long-enough-for-the-test';
const AUTH = `auth: { cookie: token, api_keys: [{ name: page, hash: "sha256:${createHash('sha256').update(KEY).digest('hex')}", roles: all }] }
roles: { all: { subscribe: "#" } }`;
const ROUTES = `
  - { topic: cam/#, codec: blob, history: { count: 10 } }
  - { topic: plain/# }
`;
let browser;
before(async () => (browser = await browse()));
after(() => browser.close());

function chunk(name, data) {
  const body = Buffer.concat([Buffer.from(name), data]);
  const whole = Buffer.alloc(body.length + 8);
  whole.writeUInt32BE(data.length);
  body.copy(whole, 4);
  whole.writeUInt32BE(crc32(body), body.length + 4);
  return whole;
}

/** A picture whose width tells which it is, with 2 KB of nothing: of another origin's stream Chromium looks at 1 KB first. */
function png(width) {
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width);
  head.writeUInt32BE(1, 4);
  head.set([8, 0, 0, 0, 0], 8);
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', head), chunk('juNk', Buffer.alloc(2048)), chunk('IDAT', deflateSync(Buffer.alloc(width + 1))), chunk('IEND', Buffer.alloc(0))]);
}

async function start(t, more = '') {
  const world = new World(t);
  await world.broker();
  const port = await freePort();
  world.origin = `http://127.0.0.1:${port}`;
  world.gateway = await world.sluice(ROUTES, `web: { origins: ["${world.origin}"] }\n${more}`);
  const server = http.createServer((request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' });
    response.end(`<!doctype html><title>page</title>${world.body}`);
  }).listen(port, '127.0.0.1');
  world.keep(() => server.close());
  world.send = async (topic, payload) => {
    execFileSync('mosquitto_pub', ['-p', String(world.brokerPort), '-q', '1', '-t', topic, '-s'], { input: payload });
    const address = `${world.gateway.url}/channels/${topic}/raw`;
    const headers = more ? { Authorization: `Bearer ${KEY}` } : {};
    await until(async () => Buffer.from(await (await fetch(address, { headers })).arrayBuffer()).equals(Buffer.from(payload)), topic);
  };
  world.page = async (address, cookie) => {
    const context = await browser.newContext();
    world.keep(() => context.close());
    if (cookie) await context.addCookies([{ name: 'token', value: KEY, url: world.gateway.url }]);
    const page = await context.newPage();
    if (address) await page.goto(address, { waitUntil: 'commit' }); // a page with a stream loads for ever
    return page;
  };
  return world;
}

const width = (page, selector, wanted) => page.waitForFunction(([of, is]) => {
  const [host, inside] = of.split(' >> ');
  const found = document.querySelector(host);
  const image = inside ? found?.shadowRoot?.querySelector(inside) : found;
  return image?.naturalWidth === is;
}, [selector, wanted]);

test('<img src> by nobody, by a ticket, by a cookie; a stream, and the element', async (t) => {
  const world = await start(t);
  await world.send('cam/door', png(7));
  world.body = `<img id="one" src="${world.gateway.url}/channels/cam/door/raw"><img id="stream" src="${world.gateway.url}/channels/cam/door/raw?stream=mjpeg">
    <script src="${world.gateway.url}/elements.js"></script><sluice-image channel="cam/door" gateway="${world.gateway.url}"></sluice-image>`;
  const page = await world.page(world.origin);
  for (const image of ['#one', '#stream', 'sluice-image >> img']) await width(page, image, 7);
  await world.send('cam/door', png(9));
  for (const image of ['#stream', 'sluice-image >> img']) await width(page, image, 9);
  const source = await page.evaluate(() => document.querySelector('sluice-image').shadowRoot.querySelector('img').src);
  assert.match(source, /\/channels\/cam\/door\/raw\?v=[\w-]{16}$/);

  const shut = await start(t, AUTH);
  await shut.send('cam/door', png(7));
  const bearer = { method: 'POST', headers: { Authorization: `Bearer ${KEY}` } };
  const { ticket } = await (await fetch(shut.gateway.url + '/ticket', bearer)).json();
  shut.body = `<img id="ticket" src="${shut.gateway.url}/channels/cam/door/raw?ticket=${ticket}"><img id="cookie" src="${shut.gateway.url}/channels/cam/door/raw">`;
  const strange = await shut.page(shut.origin, true);
  for (const image of ['#ticket', '#cookie']) await width(strange, image, 7);
});

test('a page that is not listed shows no picture', async (t) => {
  const world = await start(t);
  await world.send('cam/door', png(7));
  const elsewhere = http.createServer((request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/html' });
    response.end(`<img src="${world.gateway.url.replace('127.0.0.1', 'localhost')}/channels/cam/door/raw">`);
  });
  const port = await freePort();
  elsewhere.listen(port, '127.0.0.1');
  world.keep(() => elsewhere.close());
  const page = await world.page();
  const failed = page.waitForEvent('requestfailed');
  await page.goto(`http://127.0.0.1:${port}`);
  assert.match((await failed).failure().errorText, /BLOCKED_BY_RESPONSE/);
});

test('the dashboard shows the picture of who is signed in', async (t) => {
  for (const more of ['', AUTH]) {
    const world = await start(t, more);
    await world.send('cam/door', png(7));
    const page = await world.page();
    if (more) await page.addInitScript((key) => sessionStorage.setItem('sluice-token', key), KEY);
    await page.goto(`${world.gateway.url}/#/channels/cam%2Fdoor`);
    await width(page, '[data-testid=picture]', 7);
    await world.send('cam/door', png(9));
    await width(page, '[data-testid=picture]', 9);
  }
});

test('no payload runs as a page, a frame or a script of the gateway', async (t) => {
  const world = await start(t);
  const attacks = ['<!doctype html><script>document.title = "run"</script>', '<svg xmlns="http://www.w3.org/2000/svg" onload="document.title = \'run\'"/>',
    Buffer.concat([Buffer.from([0xff, 0xd8, 0xff]), Buffer.from('<script>document.title = "run"</script>')]), 'GIF89a=1;document.title="run"', 'document.title="run"'];
  for (const payload of attacks) {
    await world.send('plain/x', payload);
    const address = `${world.gateway.url}/channels/plain/x/raw`;
    const page = await world.page(address);
    assert.notEqual(await page.title(), 'run');
    assert.equal(await page.evaluate(() => origin), 'null'); // in a sandbox
    // In the gateway's own origin: the dashboard, whose policy takes scripts of its own origin.
    await page.goto(world.gateway.url);
    const ran = await page.evaluate((src) => new Promise((resolve) => {
      const script = document.createElement('script');
      script.onload = () => resolve(true);
      script.onerror = () => resolve(false);
      script.src = src;
      document.head.append(script);
    }), address);
    assert.equal(ran, false, String(payload));
    assert.notEqual(await page.title(), 'run');
  }
});
