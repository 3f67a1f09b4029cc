// `share: true` in Chromium: several tabs, one connection. As a SharedWorker (pages of the gateway's own origin) and by a
// leading tab (pages elsewhere).
import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { browse, freePort, until, World } from './world.mjs';

const ROUTES = `
  - { topic: n/#, history: { count: 20000, bytes: 64MiB }, publish: {} }
  - { topic: "lamps/{id}", publish: { topic: "lamps/{id}/set" } }
  - { topic: read/# }
  - { topic: "s/{id}", stale: 300ms }
`;
const SECRET = 'a-secret-of-the-test-that-is-long-enough-for-it';
const KEYS = { one: 'an-api-key-of-the-test-that-is-long-enough', two: 'another-api-key-of-the-test-that-is-long-enough' };
const AUTH = (file) => `auth:
  jwt: { secret_file: "${file}" }
  api_keys:
${Object.entries(KEYS).map(([name, key]) => `    - { name: ${name}, hash: "sha256:${createHash('sha256').update(key).digest('hex')}", roles: [${name}] }\n`).join('')}
roles: { one: { subscribe: "#", publish: "#" }, two: { subscribe: "n/#" } }`;
let browser;
before(async () => (browser = await browse()));
after(() => browser.close());

const encode = (object) => Buffer.from(JSON.stringify(object)).toString('base64url');
/** Of one user; each is another text. */
function jwt(sub, role, seconds) {
  const now = Math.floor(Date.now() / 1000);
  const head = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ sub, roles: [role], exp: Math.floor(now + seconds), jti: String(Math.random()) })}`;
  return `${head}.${createHmac('sha256', SECRET).update(head).digest('base64url')}`;
}

/** A gateway, and pages: `own` says whether they are of the gateway's origin. */
async function start(t, own, more = '') {
  const world = new World(t);
  await world.broker();
  const port = await freePort();
  const elsewhere = `http://127.0.0.1:${port}`;
  const secret = world.file('secret', SECRET);
  world.gateway = await world.sluice(ROUTES, `web: { origins: ["${elsewhere}"] }\n${more && AUTH(secret)}`);
  const html = `<!doctype html><title>Tab</title><script src="${world.gateway.url}/client.js"></script>`;
  if (!own) {
    const server = http.createServer((request, response) => response.writeHead(200, { 'Content-Type': 'text/html' }).end(html)).listen(port, '127.0.0.1');
    world.keep(() => server.close());
  }
  const context = await browser.newContext();
  world.keep(() => context.close());
  if (own) await context.route('**/tab.html', (route) => route.fulfill({ contentType: 'text/html', body: html }));
  /** A tab with a client that keeps what it gets. */
  world.tab = async (options = {}) => {
    const page = await context.newPage();
    page.faults = [];
    page.on('pageerror', (error) => page.faults.push(String(error)));
    await page.goto(own ? `${world.gateway.url}/tab.html` : elsewhere);
    await page.evaluate((given) => {
      window.got = [];
      window.events = [];
      window.sluice = new Sluice(undefined, { share: true, ...given });
      for (const name of ['state', 'error', 'gap', 'upstream', 'identity']) sluice.on(name, (event) => events.push({ ...event, code: event.code, name }));
    }, options);
    page.subscribe = (channel) => page.evaluate((name) => void sluice.subscribe(name, (m) => got.push([m.channel, m.data])), channel);
    page.live = () => page.waitForFunction(() => sluice.state === 'live');
    page.got = () => page.evaluate(() => got);
    return page;
  };
  world.sessions = async () => +/^sluice_sessions (\d+)$/m.exec(await (await fetch(world.gateway.url + '/metrics')).text())[1];
  return world;
}

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const values = (got, channel) => got.filter(([name]) => name === channel).map(([, value]) => value);

for (const [how, own] of [['a SharedWorker', true], ['a leading tab', false]]) {
  test(`${how}: one session; last values for each tab; publishing and errors reach the tab that asked`, async (t) => {
    const world = await start(t, own);
    await world.publish('n/a', ['1'], { retain: true });
    await world.publish('n/b', ['2'], { retain: true });
    const tabs = [await world.tab(), await world.tab(), await world.tab()];
    for (const tab of tabs) await tab.live();
    for (const tab of tabs) {
      await tab.subscribe('n/+');
      await until(async () => (await tab.got()).length === 2, 'the last values');
    }
    await tabs[1].subscribe('n/a'); // another text, for one tab
    await until(async () => values(await tabs[1].got(), 'n/a').length === 2, 'its last value');
    assert.equal(await world.sessions(), 1);
    await world.publish('n/a', range(10, 200));
    for (const tab of tabs) await until(async () => values(await tab.got(), 'n/a').includes(200), 'live values');
    assert.deepEqual(values(await tabs[0].got(), 'n/a'), [1, ...range(10, 200)]);
    assert.deepEqual(values(await tabs[2].got(), 'n/a'), [1, ...range(10, 200)]);
    assert.deepEqual(values(await tabs[1].got(), 'n/a'), [1, 1, ...range(10, 200).flatMap((n) => [n, n])]); // two handlers
    assert.equal(await tabs[2].evaluate(() => sluice.transport), 'websocket');

    assert.equal(await tabs[2].evaluate(() => sluice.publish('n/c', { from: 'the third' })), 'published');
    for (const tab of tabs) await until(async () => values(await tab.got(), 'n/c').length === 1, 'what was published');
    const refused = (tab, channel) => tab.evaluate((name) => sluice.publish(name, 1).catch(({ code, name: kind }) => [code, kind, true]), channel);
    assert.deepEqual(await refused(tabs[1], 'read/x'), ['forbidden', 'SluiceError', true]);
    assert.deepEqual(await tabs[1].evaluate(() => sluice.publish('nowhere/x', 1).catch((error) => error instanceof SluiceError && error.code)), 'unknown_channel');
    assert.equal(await tabs[1].evaluate(() => sluice.publish('n/bytes', new Uint8Array([0xff, 0])).catch(String)), 'published');

    await tabs[0].evaluate(() => sluice.subscribe('elsewhere/x', () => {}, { error: ({ code }) => (window.code = code) }));
    await until(() => tabs[0].evaluate(() => window.code === 'unknown_channel'), 'the refusal');
    for (const tab of tabs.slice(1)) assert.ok(!(await tab.evaluate(() => events.some(({ name }) => name === 'error'))));
    // The others' subscriptions stay when one leaves, and it gets nothing more.
    await tabs[0].evaluate(() => sluice.off('n/+'));
    await world.publish('n/d', ['1']);
    for (const tab of tabs.slice(1)) await until(async () => values(await tab.got(), 'n/d').length === 1, 'the others');
    assert.deepEqual(values(await tabs[0].got(), 'n/d'), []);
    await world.stopBroker();
    for (const tab of tabs) await until(() => tab.evaluate(() => sluice.upstream.state === 'down'), 'the broker’s state');
    await world.startBroker();
    for (const tab of tabs) await until(() => tab.evaluate(() => sluice.upstream.state === 'up'), 'the broker’s state');
    for (const tab of tabs) assert.deepEqual(tab.faults, []);
  });

  test(`${how}: each tab begins at the time that it asks for`, async (t) => {
    const world = await start(t, own);
    await world.publish('n/s', range(1, 5));
    const tabs = [await world.tab(), await world.tab(), await world.tab()];
    for (const [at, tab] of tabs.entries()) {
      await tab.live();
      await tab.evaluate((since) => void sluice.subscribe('n/s', (m) => got.push([m.channel, m.data]), { since }), at < 2 ? '10m' : undefined);
      await until(async () => values(await tab.got(), 'n/s').includes(5), 'what there is');
    }
    assert.equal(await world.sessions(), 1);
    await world.publish('n/s', ['6']);
    for (const tab of tabs) await until(async () => values(await tab.got(), 'n/s').includes(6), 'what comes');
    for (const tab of tabs.slice(0, 2)) assert.deepEqual(values(await tab.got(), 'n/s'), range(1, 6));
    assert.deepEqual(values(await tabs[2].got(), 'n/s'), [5, 6]);
    for (const tab of tabs) assert.deepEqual(tab.faults, []);
  });

  test(`${how}: tabs and gateway come and go, nothing is lost or doubled`, async (t) => {
    const world = await start(t, own);
    const tabs = [await world.tab()];
    await tabs[0].live();
    tabs.push(await world.tab(), await world.tab());
    for (const tab of tabs) {
      await tab.live();
      await tab.subscribe('n/#');
    }
    await world.publish('n/x', ['0']);
    for (const tab of tabs) await until(async () => (await tab.got()).length === 1, 'the first');
    const sending = world.publish('n/x', range(1, 300));
    await tabs[0].close(); // it led
    await sending;
    await world.publish('n/x', range(301, 600));
    for (const tab of tabs.slice(1)) {
      await until(async () => values(await tab.got(), 'n/x').includes(600), 'all after the leading tab has gone');
      assert.deepEqual(values(await tab.got(), 'n/x'), range(0, 600));
    }
    // A tab that comes now gets the last values, although the connection went on from a cursor.
    await world.publish('n/y', ['5'], { retain: true });
    for (const tab of tabs.slice(1)) await until(async () => values(await tab.got(), 'n/y').length, 'the value');
    const late = await world.tab();
    await late.subscribe('n/#');
    await until(async () => (await late.got()).length === 2, 'the last values');
    assert.deepEqual((await late.got()).sort(), [['n/x', 600], ['n/y', 5]]);
    assert.equal(await world.sessions(), 1);
    // The gateway goes away, and all tabs say so, and resume.
    await world.gateway.stop('SIGKILL');
    for (const tab of [...tabs.slice(1), late]) await tab.waitForFunction(() => sluice.state === 'waiting' || sluice.state === 'connecting');
    assert.equal(await late.evaluate(() => sluice.publish('n/x', 1).catch(({ code }) => code)), 'offline');
    await world.gateway.start();
    for (const tab of [...tabs.slice(1), late]) await tab.live();
    await world.publish('n/x', ['700']);
    for (const tab of [...tabs.slice(1), late]) await until(async () => values(await tab.got(), 'n/x').at(-1) === 700, 'after the restart');
    assert.equal(await world.sessions(), 1);
    // When all have gone, the connection has.
    for (const tab of [...tabs.slice(1), late]) await tab.evaluate(() => sluice.close());
    await until(async () => (await world.sessions()) === 0, 'the end of the session');
  });
}

for (const [how, own] of [['a SharedWorker', true], ['a leading tab', false]]) {
  test(`${how}: every tab hears the states, one that comes later too`, async (t) => {
    const world = await start(t, own);
    const state = (tab) => tab.evaluate(() => sluice.status('s/a')?.state);
    const first = await world.tab();
    await first.live();
    await first.subscribe('s/+');
    await world.publish('s/a', ['1']);
    await until(async () => (await state(first)) === 'stale', 'stale in the first tab');
    const later = await world.tab();
    await later.live();
    await later.subscribe('s/+');
    await until(async () => (await state(later)) === 'stale', 'stale in the later tab');
    const stranger = await world.tab();
    await stranger.live();
    await stranger.subscribe('n/#');
    await Promise.all([first, later].map((tab) => tab.evaluate(() => void sluice.on('status', (s) => events.push({ ...s, name: 'status' })))));
    await world.publish('s/a', ['2']);
    for (const tab of [first, later])
      await until(() => tab.evaluate(() => events.filter(({ name }) => name === 'status').map((s) => s.state).join() === 'live,stale'), 'live, then stale');
    assert.equal(await state(stranger), undefined);
    assert.equal(await world.sessions(), 1);
  });
}

test('users share with themselves only, and a refused token is refused', async (t) => {
  const world = await start(t, false, 'auth');
  await world.publish('read/x', ['1'], { retain: true });
  const open = async (token) => {
    const tab = await world.tab({ token });
    await tab.subscribe('read/x');
    return tab;
  };
  const [one, again, two] = [await open(KEYS.one), await open(KEYS.one), await open(KEYS.two)];
  for (const tab of [one, again, two]) await tab.live();
  assert.equal(await world.sessions(), 2);
  for (const tab of [one, again]) await until(async () => (await tab.got()).length === 1, 'the value');
  await until(() => two.evaluate(() => events.some(({ name, code }) => name === 'error' && code === 'forbidden')), 'the refusal');
  assert.deepEqual(await two.got(), []);
  // Two tokens of one user.
  const anna = [await open(jwt('anna', 'one', 600)), await open(jwt('anna', 'one', 900))];
  const bob = await open(jwt('bob', 'one', 600));
  for (const tab of [...anna, bob]) await until(async () => (await tab.got()).length === 1, 'the value');
  assert.equal(await world.sessions(), 4);
  await until(() => anna[1].evaluate(() => sluice.identity.subject === 'anna'), 'the identity');
  // Another user from now on.
  await two.evaluate((token) => sluice.setToken(token), KEYS.one);
  await until(async () => (await two.got()).length === 1, 'the value');
  assert.equal(await world.sessions(), 3);
  const wrong = await open('no-such-key-no-such-key-no-such-key-no-such-key');
  await wrong.waitForFunction(() => sluice.state === 'unauthorized');
  assert.equal(await world.sessions(), 3);
});

test('tokens that expire are renewed for all tabs', async (t) => {
  const world = await start(t, false, 'auth');
  await world.publish('n/x', ['1'], { retain: true });
  const tabs = [];
  const first = Date.now() + 4_000; // those that the tabs begin with are no longer valid then
  for (let i = 0; i < 2; i++) {
    const tab = await world.tab();
    let given = 0;
    await tab.exposeFunction('give', () => (given++, jwt('anna', 'one', given === 1 ? (first - Date.now()) / 1000 : 600)));
    await tab.evaluate(() => {
      sluice.close();
      sluice = new Sluice(undefined, { share: true, token: () => give() });
      sluice.subscribe('n/x', (m) => got.push([m.channel, m.data]));
    });
    tab.given = () => given;
    tabs.push(tab);
  }
  for (const tab of tabs) await until(async () => (await tab.got()).length === 1, 'the value');
  await until(() => tabs.some((tab) => tab.given() > 1), 'a new token');
  await until(() => Date.now() > first, 'the end of the first token');
  await world.publish('n/x', ['2']);
  for (const tab of tabs) await until(async () => values(await tab.got(), 'n/x').includes(2), 'a value after that');
  assert.equal(await world.sessions(), 1);
});

test('where tabs cannot share, each has a connection of its own', async (t) => {
  const world = await start(t, false);
  await world.publish('n/x', ['1'], { retain: true });
  for (const missing of ['locks', 'channel', 'script']) {
    const tab = await world.tab();
    await tab.evaluate((what) => {
      sluice.close();
      if (what === 'locks') Object.defineProperty(navigator, 'locks', { value: undefined });
      if (what === 'channel') window.BroadcastChannel = undefined;
      const share = what === 'script' ? () => Promise.reject(new Error('no such file')) : true;
      sluice = new Sluice(document.querySelector('script').src.replace('/client.js', ''), { share });
      sluice.subscribe('n/x', (m) => got.push([m.channel, m.data]));
    }, missing);
    await until(async () => (await tab.got()).length === 1, missing);
  }
  assert.equal(await world.sessions(), 3);
});
