// A tab that is hidden for real (another tab is in front), and a network that dies without a word. Chromium is spoken to
// by its own protocol: Playwright keeps every page in front.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import WebSocket from 'ws';
import { Child, CHROMIUM, freePort, Relay, until, World } from './world.mjs';

const ROUTES = `
  - topic: n/#
    history: { count: 20000, bytes: 64MiB }
`;
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

async function tab(world, url) {
  const port = await freePort();
  const child = new Child('/usr/bin/chromium', ['--headless=new', ...CHROMIUM, `--remote-debugging-port=${port}`,
    `--user-data-dir=${world.directory}/profile`, url]);
  world.keep(() => child.stop());
  const list = async (path, method = 'GET') => (await fetch(`http://127.0.0.1:${port}/json/${path}`, { method })).text();
  const targets = await until(() => list('list').then((text) => JSON.parse(text).filter((one) => one.type === 'page')).catch(() => 0), 'Chromium');
  const page = targets[0];
  const socket = new WebSocket(page.webSocketDebuggerUrl);
  await new Promise((resolve) => socket.once('open', resolve));
  world.keep(() => socket.terminate());
  let id = 0;
  const waiting = new Map();
  socket.on('message', (text) => {
    const answer = JSON.parse(text);
    waiting.get(answer.id)?.(answer);
    waiting.delete(answer.id);
  });
  const send = (method, params = {}) =>
    new Promise((resolve) => {
      waiting.set(++id, resolve);
      socket.send(JSON.stringify({ id, method, params }));
    });
  const evaluate = async (expression) => {
    const { result } = await send('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true });
    if (result.exceptionDetails) throw new Error(result.exceptionDetails.exception?.description || result.exceptionDetails.text);
    return result.result.value;
  };
  let other;
  return {
    evaluate,
    hide: async () => (other = JSON.parse(await list('new?about:blank', 'PUT'))),
    show: async () => (await list(`close/${other.id}`), await list(`activate/${page.id}`)),
  };
}

async function start(t, url) {
  const world = new World(t);
  await world.broker();
  world.gateway = await world.sluice(ROUTES);
  const relay = await Relay.to(world, world.gateway.port);
  const page = await tab(world, (url || relay.url) + '/healthz');
  await until(() => page.evaluate("document.readyState === 'complete' && location.protocol === 'http:'"), 'the page');
  await page.evaluate(`new Promise((done, fail) => {
    const script = document.createElement('script');
    script.src = '/client.js'; script.onload = done; script.onerror = fail;
    document.head.append(script);
  })`);
  return { world, relay, page };
}

for (const transport of ['websocket', 'sse', 'longpoll']) {
  test(`a hidden tab slows down and recovers: ${transport}`, async (t) => {
    const { world, page } = await start(t);
    await page.evaluate(`
      got = []; all = []; gaps = 0;
      sluice = new Sluice('', { transports: ['${transport}'], hidden: '1s' });
      sluice.on('gap', () => gaps++);
      sluice.subscribe('n/a', (m) => got.push(m.data));`);
    await world.publish('n/a', [0]);
    await until(() => page.evaluate('got.length === 1'), 'the subscription');
    await world.publish('n/a', range(1, 200));
    await until(() => page.evaluate('got.length === 201'), 'every message while it is seen');
    await page.hide();
    await until(() => page.evaluate("document.visibilityState === 'hidden'"), 'the tab to be hidden');
    // From some moment on it is slow: of a burst only few come, the last among them.
    let base = 200;
    await until(async () => {
      const before = await page.evaluate('got.length');
      await world.publish('n/a', range(base + 1, base + 200));
      base += 200;
      await until(() => page.evaluate(`got.at(-1) === ${base}`), 'the last value');
      return (await page.evaluate('got.length')) - before < 20;
    }, 'the hidden tab to slow down');
    const metrics = await (await fetch(world.gateway.url + '/metrics')).text();
    assert.ok(Number(/^sluice_conflated_total (\d+)/m.exec(metrics)[1]) > 0, 'it is the gateway that spares the tab');
    await page.show();
    await until(() => page.evaluate("document.visibilityState === 'visible'"), 'the tab to be seen');
    await until(async () => {
      const before = await page.evaluate('got.length');
      await world.publish('n/a', range(base + 1, base + 200));
      base += 200;
      await until(() => page.evaluate(`got.at(-1) === ${base}`), 'the last value');
      return (await page.evaluate('got.length')) - before === 200;
    }, 'full speed');
    const got = await page.evaluate('got');
    assert.ok(got.every((n, i) => !i || n > got[i - 1]), 'nothing twice, nothing back');
    assert.equal(await page.evaluate('gaps'), 0);
  });
}

test('a network that dies without a word is noticed, and nothing is lost', async (t) => {
  const { world, relay, page } = await start(t);
  await page.evaluate(`
    got = []; gaps = 0;
    sluice = new Sluice('', { transports: ['websocket'] });
    sluice.on('gap', () => gaps++);
    sluice.subscribe('n/a', (m) => got.push(m.data));`);
  await world.publish('n/a', [1]);
  await until(() => page.evaluate('got.length === 1'), 'the subscription');
  await world.publish('n/a', range(2, 10));
  await until(() => page.evaluate('got.length === 10'), 'messages');
  relay.stall();
  await world.publish('n/a', range(11, 20));
  await until(() => page.evaluate("sluice.state !== 'live'"), 'the client to notice', 120_000); // 30 s, a ping, 5 s
  await relay.cut();
  await relay.mend();
  await until(() => page.evaluate('got.length >= 20'), 'what was lost on the way');
  assert.deepEqual(await page.evaluate('got'), range(1, 20));
  assert.equal(await page.evaluate('gaps'), 0);
});
