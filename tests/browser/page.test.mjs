// The client in Chromium: what a page with one script tag goes through.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { browse, nginx, Relay, until, World } from './world.mjs';

const ROUTES = `
  - topic: n/#
    history: { count: 20000, bytes: 64MiB }
    publish: {}
  - topic: big/#
    history: { count: 50, bytes: 2MiB }
`;
let browser;
before(async () => (browser = await browse()));
after(() => browser.close());

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

async function start(t) {
  const world = new World(t);
  await world.broker();
  world.gateway = await world.sluice(ROUTES);
  return world;
}

/** A page that does nothing but listen to n/a. Texts are for hears(), numbers are what it got. */
async function open(world, url, options = '{}') {
  const context = await browser.newContext();
  world.keep(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  await page.goto(url + '/healthz');
  await page.addScriptTag({ url: url + '/client.js' });
  await page.evaluate(`
    got = []; gaps = []; states = []; upstream = []; heard = 0;
    sluice = new Sluice('', ${options});
    sluice.on('gap', (g) => gaps.push(g));
    sluice.on('state', (s) => states.push(s.state + ' ' + s.transport));
    sluice.on('upstream', (u) => upstream.push(u.state));
    sluice.subscribe('n/a', (m) => (typeof m.data === 'string' ? heard++ : got.push(m.data)));`);
  // Being live is not yet being subscribed: over a WebSocket that takes another round trip.
  page.hears = async () => {
    await page.evaluate('heard = 0');
    await until(async () => (await world.publish('n/a', ['hello']), page.evaluate('heard > 0')), 'the subscription');
  };
  page.last = (value, timeout = 60_000) =>
    until(() => page.evaluate(`got.at(-1) === ${value}`), async () => `${value}, got up to ${await page.evaluate('got.at(-1)')}`, timeout);
  page.live = (transport) => until(() => page.evaluate(`sluice.state === 'live' && sluice.transport === '${transport}'`), transport);
  page.exactly = async (numbers) => {
    const got = await page.evaluate('got');
    const at = got.findIndex((n, i) => n !== numbers[i]);
    assert.equal(at, -1, `lost, double or out of order: … ${got.slice(Math.max(0, at - 3), at + 4)} …`);
    assert.equal(got.length, numbers.length);
  };
  return page;
}

test('nothing lost or doubled over 10,000 messages with a change of transport every few hundred', async (t) => {
  const world = await start(t);
  const page = await open(world, world.gateway.url);
  await page.live('websocket');
  await page.hears();
  await page.evaluate(`
    let changes = 0;
    sluice.subscribe('n/a', () => got.length % 300 === 0 && sluice.use([['sse', 'longpoll', 'websocket'][changes++ % 3]]))`);
  await world.publish('n/a', range(1, 10_000));
  await page.last(10_000, 120_000);
  await page.exactly(range(1, 10_000));
  assert.deepEqual(await page.evaluate('gaps'), []);
  const over = new Set(await page.evaluate("states.filter((s) => s.startsWith('live'))"));
  assert.equal(over.size, 3, [...over].join());
});

test('a proxy that takes no WebSocket: SSE; one that collects streams too: long-poll', async (t) => {
  const world = await start(t);
  await world.publish('n/a', [1]);
  const plain = await nginx(world, world.gateway.port, '');
  const collecting = await nginx(world, world.gateway.port, 'proxy_buffering on; proxy_ignore_headers X-Accel-Buffering; gzip on; gzip_types text/event-stream; gzip_min_length 1; gzip_proxied any;');
  const right = await nginx(world, world.gateway.port, 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;');
  for (const [proxy, transport] of [[plain, 'sse'], [collecting, 'longpoll'], [right, 'websocket']]) {
    const page = await open(world, proxy.url, '{ connectTimeout: 1500 }');
    await page.live(transport);
    const last = await until(() => page.evaluate('got.at(-1)'), `the last value over ${transport}`);
    await world.publish('n/a', range(last + 1, last + 500));
    await page.last(last + 500);
    await page.exactly(range(last, last + 500));
    assert.equal(await page.evaluate("sluice.publish('n/b', { a: 1 })"), 'published');
  }
});

test('the gateway is killed and started again', async (t) => {
  const world = await start(t);
  const page = await open(world, world.gateway.url);
  await page.hears();
  await world.publish('n/a', range(1, 100));
  await page.last(100);
  await world.gateway.stop('SIGKILL');
  await until(() => page.evaluate("states.some((s) => s.startsWith('waiting'))"), 'the page to notice');
  await world.gateway.start();
  await page.live('websocket');
  await page.hears();
  await world.publish('n/a', range(101, 200));
  await page.last(200);
  await page.exactly(range(1, 200));
  // What came while it was away is not known to anybody; the page is told that it may have missed something.
  assert.deepEqual(await page.evaluate('gaps.map((g) => g.reason)'), ['epoch']);
});

test('the network is cut, and comes back', async (t) => {
  const world = await start(t);
  const relay = await Relay.to(world, world.gateway.port);
  const page = await open(world, relay.url);
  await page.hears();
  await world.publish('n/a', range(1, 100));
  await page.last(100);
  for (const [i, transport] of ['websocket', 'sse', 'longpoll'].entries()) {
    const from = 100 + i * 200;
    await page.evaluate(`sluice.use(['${transport}'])`);
    await page.live(transport);
    await world.publish('n/a', range(from + 1, from + 100));
    await page.last(from + 100);
    await relay.cut();
    await until(() => page.evaluate("sluice.state !== 'live'"), 'the page to notice');
    await world.publish('n/a', range(from + 101, from + 200)); // while nobody hears
    await relay.mend();
    await page.last(from + 200);
  }
  await page.exactly(range(1, 700));
  assert.deepEqual(await page.evaluate('gaps'), []);
});

test('the broker goes and comes back', async (t) => {
  const world = new World(t);
  await world.broker();
  world.gateway = await world.sluice(ROUTES);
  const page = await open(world, world.gateway.url);
  await page.live('websocket');
  await world.stopBroker();
  await until(() => page.evaluate("upstream.at(-1) === 'down'"), 'upstream down');
  await assert.rejects(page.evaluate("sluice.publish('n/a', 1).catch((e) => { throw e.code })"), /upstream_down/);
  await world.startBroker();
  await until(() => page.evaluate("upstream.at(-1) === 'up'"), 'upstream up');
  await world.publish('n/a', [1]);
  await page.last(1);
});

test("the browser's own EventSource resumes by itself", async (t) => {
  const world = await start(t);
  const relay = await Relay.to(world, world.gateway.port);
  const context = await browser.newContext();
  world.keep(() => context.close());
  const page = await context.newPage();
  await page.goto(relay.url + '/healthz');
  await page.evaluate(`
    got = []; gaps = [];
    source = new EventSource('/sse?channel=n/%2B');
    source.onmessage = (e) => got.push(JSON.parse(e.data).data);
    source.addEventListener('gap', (e) => gaps.push(e.data));`);
  await until(() => page.evaluate('source.readyState === 1'), 'the stream');
  await world.publish('n/a', range(1, 100));
  await until(() => page.evaluate('got.length === 100'), 'live messages');
  await relay.cut();
  await world.publish('n/a', range(101, 200));
  await relay.mend();
  await until(() => page.evaluate('got.length >= 200'), 'what came meanwhile');
  assert.deepEqual(await page.evaluate('got'), range(1, 200));
  assert.deepEqual(await page.evaluate('gaps'), []);
});

test('a frozen tab costs the gateway bounded memory, and catches up', async (t) => {
  const world = await start(t);
  const own = await browse(); // its renderer is going to be stopped
  world.keep(() => own.close());
  const page = await own.newPage();
  await page.goto(world.gateway.url + '/healthz');
  await page.addScriptTag({ url: '/client.js' });
  await page.evaluate("got = 0; gaps = []; sluice = new Sluice(); sluice.on('gap', (g) => gaps.push(g)); sluice.subscribe('big/a', (m) => (got = m.data.n))");
  await until(() => page.evaluate("sluice.state === 'live'"), 'the client');
  const rss = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${world.gateway.child.process.pid}/status`, 'utf8'))[1]) / 1024;
  const before_ = rss();
  const { processInfo } = await (await own.newBrowserCDPSession()).send('SystemInfo.getProcessInfo');
  const renderers = processInfo.filter((p) => p.type === 'renderer').map((p) => p.id);
  renderers.forEach((pid) => process.kill(pid, 'SIGSTOP'));
  try {
    const pad = 'x'.repeat(20_000);
    const messages = range(1, 3000).map((n) => JSON.stringify({ n, pad })); // 60 MB
    await world.publish('big/a', messages);
    await until(async () => (await (await fetch(world.gateway.url + '/channels/big/a')).json()).data.n === 3000, 'the gateway to have it all');
    const grown = rss() - before_;
    t.diagnostic(`gateway grew by ${grown.toFixed(1)} MiB while 60 MB went to a frozen tab`);
    assert.ok(grown < 40, `${grown} MiB`);
  } finally {
    renderers.forEach((pid) => process.kill(pid, 'SIGCONT'));
  }
  await until(() => page.evaluate('got === 3000'), 'the last value');
  assert.ok((await page.evaluate('gaps.length')) > 0); // what its history no longer had is told
});
