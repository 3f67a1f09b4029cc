// Whoever answers in the gateway's place: proxies, captive portals, other servers. Nothing they say is taken for the gateway's word,
// and nothing is lost when it is back.
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { after, before, test } from 'node:test';
import WebSocket, { WebSocketServer } from 'ws';
import { Sluice } from '../../client/dist/sluice-client.js';
import { browse, Child, freePort, nginx, until, World } from './world.mjs';

const ROUTES = `
  - topic: n/#
    history: { count: 1000 }
    publish: {}
`;
const TRANSPORTS = ['websocket', 'sse', 'longpoll'];
const HTML = '<!doctype html><title>Not here</title><h1>Not here</h1>';
const page = (status, headers = {}) => (_, answer) => answer.writeHead(status, { 'Content-Type': 'text/html', ...headers }).end(HTML);
const json = (status, object) => (_, answer) => answer.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(object));
const stream = (...events) => (_, answer) => {
  answer.writeHead(200, { 'Content-Type': 'text/event-stream' });
  for (const event of events) answer.write(event + '\n\n');
};
const socket = (...frames) => (ws) => frames.forEach((frame) => ws.send(frame));

/** What is said to a request, and to a WebSocket that is opened; without the latter it gets the same answer. */
const STRANGE = {
  '404 of Traefik while a container starts': [(_, answer) => answer.writeHead(404, { 'Content-Type': 'text/plain' }).end('404 page not found\n')],
  '403 of a proxy': [page(403)],
  '401 of basic authentication': [page(401, { 'WWW-Authenticate': 'Basic realm="x"' })],
  '400 and 405 of an application': [page(405)],
  '407 of a company': [page(407, { 'Proxy-Authenticate': 'Basic realm="x"' })],
  '500 of a lambda': [json(500, { message: 'Internal server error' })],
  '502 of nginx': [page(502)],
  '503 for an hour': [page(503, { 'Retry-After': '3600' })],
  '503 until a date': [page(503, { 'Retry-After': 'Fri, 31 Dec 2999 23:59:59 GMT' })],
  '429 with a number beyond all timers': [page(429, { 'Retry-After': '99999999999' })],
  '200 of a single-page application': [page(200)],
  '200 that claims to be JSON': [(_, answer) => answer.writeHead(200, { 'Content-Type': 'application/json' }).end(HTML)],
  '200 without a body': [(_, answer) => answer.writeHead(200, { 'Content-Length': 0 }).end()],
  '204 of a connectivity check': [(_, answer) => answer.writeHead(204).end()],
  'a login page behind a redirect': [(request, answer) => (request.url.startsWith('/login') ? page(200)(request, answer)
    : answer.writeHead(302, { Location: '/login?next=' + encodeURIComponent(request.url) }).end())],
  'a redirect in a circle': [(request, answer) => answer.writeHead(302, { Location: request.url }).end()],
  'JSON of somebody else': [json(200, { ok: true, messages: 3 })],
  'JSON that is null': [json(200, null)],
  'JSON errors of somebody else, 404': [json(404, { error: 'not_found', message: 'no such route' })],
  'JSON errors of somebody else, 403': [json(403, { code: 'forbidden' })],
  'a stream of somebody else': [stream('retry: 3000', 'event: ping\ndata: {}', 'data: {"price":3}')],
  'a stream with ids that are none': [stream('id: 17\ndata: {"channel":"n/a","data":9}')],
  'a stream of text': [stream('data: hello')],
  'a WebSocket of a development server': [page(404), socket('{"type":"hot"}', '{"type":"liveReload"}', '{"type":"ok"}')],
  'a WebSocket that talks no JSON': [page(404), socket('0{"sid":"x"}', 'hello')],
  'a WebSocket of bytes': [page(404), socket(Buffer.from([0, 1, 2]))],
  'a WebSocket that says null': [page(404), socket('null')],
  'a WebSocket that welcomes without a place': [page(404), socket('{"type":"welcome"}', '{"type":"message","channel":"n/a","data":9}')],
};

/** Passes connections on, or has a stranger answer them. */
class Front {
  sockets = new Set();
  asked = 0;

  static async before(world, target) {
    const front = new Front();
    front.port = await freePort();
    front.url = `http://127.0.0.1:${front.port}`;
    front.http = http.createServer((request, answer) => (front.asked++, front.stranger[0](request, answer)));
    front.http.on('upgrade', (request, raw, head) => {
      const [say, greet] = front.stranger;
      if (greet) return front.ws.handleUpgrade(request, raw, head, (ws) => (front.asked++, greet(ws)));
      const answer = new http.ServerResponse(request);
      answer.assignSocket(raw);
      front.asked++;
      say(request, answer);
      answer.on('finish', () => raw.end());
    });
    front.ws = new WebSocketServer({ noServer: true, handleProtocols: (names) => [...names][0] });
    front.server = net.createServer((from) => {
      front.sockets.add(from);
      from.on('error', () => {});
      from.on('close', () => front.sockets.delete(from));
      if (front.stranger && !front.onlyPosts) return void front.http.emit('connection', from);
      const to = net.connect(target, '127.0.0.1');
      const both = () => (from.destroy(), to.destroy());
      to.on('error', both).on('close', both);
      from.on('close', () => to.destroy());
      to.pipe(from);
      const pass = (data) => {
        if (!front.onlyPosts || !String(data).startsWith('POST')) return void to.write(data);
        from.off('data', pass);
        to.unpipe(from);
        to.off('close', both).destroy();
        from.unshift(data);
        front.http.emit('connection', from);
      };
      from.on('data', pass);
    }).listen(front.port, '127.0.0.1');
    world.keep(() => (front.cut(), front.server.close()));
    await new Promise((resolve) => front.server.once('listening', resolve));
    return front;
  }

  become(stranger) {
    this.stranger = stranger;
    this.asked = 0;
    this.cut();
  }

  cut() {
    for (const one of this.sockets) one.destroy();
  }
}

async function start(t, more) {
  const world = new World(t);
  await world.broker();
  world.gateway = await world.sluice(ROUTES, more);
  return world;
}

function listen(world, url, options = {}) {
  const seen = { got: [], states: [], errors: [], gaps: [] };
  const client = new Sluice(url, { WebSocket, connectTimeout: 1500, ...options });
  world.keep(() => client.close());
  client.on('state', (event) => seen.states.push(event));
  client.on('error', (error) => seen.errors.push(error));
  client.on('gap', (gap) => seen.gaps.push(gap));
  client.subscribe('n/a', (message) => seen.got.push(message.data));
  return Object.assign(seen, { client });
}

for (const order of [...TRANSPORTS.map((one) => [one]), TRANSPORTS]) {
  test(`${order.join(', ')}: a stranger's answer is no refusal, and what came meanwhile is not lost`, async (t) => {
    const world = await start(t);
    await world.publish('n/a', [1]);
    const cases = await Promise.all(Object.entries(STRANGE).map(async ([name, stranger]) => {
      const front = await Front.before(world, world.gateway.port);
      return { name, stranger, front, ...listen(world, front.url, { transports: order }) };
    }));
    for (const one of cases) await until(() => one.got.length === 1, () => `${one.name}: the first value`);
    for (const one of cases) {
      one.front.become(one.stranger);
      one.states.length = 0;
    }
    for (const one of cases) {
      await until(() => one.client.state !== 'live' && one.states.filter((event) => event.state === 'waiting').length > 1 && one.front.asked > 1,
        () => `${one.name}: attempts, ${JSON.stringify(one.states)}`, 90_000);
    }
    await world.publish('n/a', [2, 3]);
    for (const one of cases) {
      assert.ok(!one.states.some((event) => event.state === 'live' || event.state === 'unauthorized'), `${one.name}: ${JSON.stringify(one.states)}`);
      assert.ok(one.states.every((event) => event.state !== 'waiting' || (event.reason && event.retryIn <= 60_000)), `${one.name}: ${JSON.stringify(one.states)}`);
      await assert.rejects(one.client.publish('n/a', 0), { code: 'offline' });
      one.front.become(undefined);
      one.client.use(order); // now, not after the back-off
    }
    for (const one of cases) {
      await until(() => one.got.at(-1) === 3, () => `${one.name}: what came meanwhile, got ${one.got}`);
      assert.deepEqual([one.name, one.got, one.errors, one.gaps], [one.name, [1, 2, 3], [], []]);
      assert.equal(one.client.state, 'live');
    }
  });
}

test('it comes back by itself, after one round of back-off', async (t) => {
  const world = await start(t);
  await world.publish('n/a', [1]);
  const front = await Front.before(world, world.gateway.port);
  const one = listen(world, front.url);
  await until(() => one.got.length === 1);
  front.become(STRANGE['503 for an hour']);
  await until(() => one.states.filter((event) => event.state === 'waiting').length > 1);
  assert.ok(one.states.every(({ retryIn = 0 }) => retryIn <= 30_000), 'a proxy that asks for an hour gets half a minute');
  front.become(undefined);
  await world.publish('n/a', [2]);
  await until(() => one.got.at(-1) === 2);
});

test('a client with nothing to listen to is not live with a stranger', async (t) => {
  const world = await start(t);
  for (const name of ['200 of a single-page application', '204 of a connectivity check', 'JSON of somebody else']) {
    const front = await Front.before(world, world.gateway.port);
    front.become(STRANGE[name]);
    const client = new Sluice(front.url, { transports: ['sse', 'longpoll'] });
    world.keep(() => client.close());
    const states = [];
    client.on('state', (event) => states.push(event.state));
    await until(() => states.includes('waiting'), name);
    assert.ok(!states.includes('live'), name);
    front.become(undefined);
    await until(() => client.state === 'live', name);
  }
});

test('a publish that a stranger answers is never said to be published', async (t) => {
  const world = await start(t);
  const cases = Object.entries(STRANGE).filter(([, [, greet]]) => !greet);
  await Promise.all(cases.map(async ([name, stranger]) => {
    const front = await Front.before(world, world.gateway.port);
    const one = listen(world, front.url, { transports: ['longpoll'] });
    await until(() => one.client.state === 'live', name);
    front.onlyPosts = true;
    front.stranger = stranger;
    const error = await one.client.publish('n/b', 1).then((how) => how, (why) => why);
    // A redirect makes a GET of it, which gets through to the gateway here: that answers, but not that it was published.
    const codes = name.includes('redirect') ? ['not_found', 'no_value'] : ['connection_lost', 'timeout'];
    assert.ok(codes.includes(error.code), `${name}: ${error} ${error.code}`);
  }));
});

test("the gateway's own refusals still are", async (t) => {
  const world = await start(t);
  for (const transport of TRANSPORTS) {
    const one = listen(world, world.gateway.url, { transports: [transport] });
    const why = [];
    one.client.subscribe('nowhere/x', () => {}, { error: (error) => why.push(error.code) });
    await until(() => why.length, transport);
    assert.deepEqual(why, ['unknown_channel']);
  }
});

test('nginx and HAProxy while the gateway restarts', async (t) => {
  const world = await start(t);
  await world.publish('n/a', [1], { retain: true });
  const upgrade = 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;';
  const fronts = {
    'nginx, 502': await nginx(world, world.gateway.port, upgrade),
    'nginx, 404': await nginx(world, world.gateway.port, `${upgrade} error_page 502 504 =404 @gone; } location @gone { return 404 gone;`),
    'nginx, 403': await nginx(world, world.gateway.port, `${upgrade} error_page 502 504 =403 @gone; } location @gone { default_type text/html; return 403 "${HTML.replace(/"/g, '')}";`),
    'nginx, 200': await nginx(world, world.gateway.port, `${upgrade} error_page 502 504 =200 @gone; } location @gone { default_type text/html; return 200 "soon";`),
  };
  const port = await freePort();
  const conf = world.file('haproxy.cfg', `
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  timeout tunnel 60s
listen front
  bind 127.0.0.1:${port}
  server sluice 127.0.0.1:${world.gateway.port}
`);
  const haproxy = new Child('/usr/sbin/haproxy', ['-db', '-f', conf]);
  world.keep(() => haproxy.stop());
  fronts['HAProxy, 503'] = { url: `http://127.0.0.1:${port}` };
  const cases = Object.entries(fronts).flatMap(([name, { url }]) => TRANSPORTS.map((transport) =>
    ({ name: `${name}, ${transport}`, ...listen(world, url, { transports: [transport] }) })));
  for (const one of cases) await until(() => one.got.length, () => one.name + haproxy.output);
  await world.gateway.stop('SIGKILL');
  for (const one of cases) await until(() => one.states.filter((event) => event.state === 'waiting').length > 1, one.name);
  await world.gateway.start();
  await world.publish('n/a', [2], { retain: true });
  for (const one of cases) {
    await until(() => one.got.at(-1) === 2, () => `${one.name}: ${one.got} ${JSON.stringify(one.states.at(-1))}`);
    assert.deepEqual([one.name, one.errors], [one.name, []]);
  }
});

let browser;
before(async () => (browser = await browse()));
after(() => browser.close());

test('the same in Chromium', async (t) => {
  const world = await start(t);
  await world.publish('n/a', [1]);
  const context = await browser.newContext();
  world.keep(() => context.close());
  const pages = await Promise.all(['404 of Traefik while a container starts', '403 of a proxy', '401 of basic authentication', '200 of a single-page application',
    '204 of a connectivity check', 'a login page behind a redirect', 'JSON errors of somebody else, 403', 'a stream of somebody else',
    'a WebSocket of a development server', 'a WebSocket of bytes'].map(async (name) => {
    const front = await Front.before(world, world.gateway.port);
    const tab = await context.newPage();
    await tab.goto(front.url + '/healthz');
    await tab.addScriptTag({ url: front.url + '/client.js' });
    await tab.evaluate(`got = []; errors = []; states = [];
      sluice = new Sluice('', { connectTimeout: 1500 });
      sluice.on('error', (e) => errors.push(e.code)); sluice.on('state', (e) => states.push(e.state));
      sluice.subscribe('n/a', (m) => got.push(m.data));`);
    await until(() => tab.evaluate('got.length'), name);
    return { name, front, tab };
  }));
  for (const { name, front, tab } of pages) {
    await tab.evaluate('states = []');
    front.become(STRANGE[name]);
  }
  for (const { name, tab } of pages) await until(() => tab.evaluate("states.filter((s) => s === 'waiting').length > 1"), name, 90_000);
  await world.publish('n/a', [2]);
  for (const { name, front, tab } of pages) {
    assert.equal(await tab.evaluate("states.includes('live')"), false, name);
    front.become(undefined);
    await until(() => tab.evaluate('got.at(-1) === 2'), name, 90_000);
    assert.deepEqual(await tab.evaluate('[got, errors]'), [[1, 2], []], name);
  }
});
