// socket.io-client in Chromium, in a page of another origin: behind nginx, and behind proxies that let no WebSocket through.
import assert from 'node:assert/strict';
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { browse, nginx, ROOT, until, World } from './world.mjs';

const LIBRARY = readFileSync(ROOT + 'tests/browser/node_modules/socket.io-client/dist/socket.io.min.js');
const PAGE = '<!doctype html><title>Home</title><script src="/socket.io.min.js"></script><p>home</p>';
const ROUTES = '  - { topic: home/#, history: { count: 100 }, publish: { qos: 1 } }';

let browser, shared;
const ends = [];
before(async () => {
  browser = await browse();
  shared = await start({ after: (end) => ends.push(end) });
});
after(async () => {
  for (const end of ends) await end();
  await browser.close();
});

/** A gateway, and a page on a web server of its own. */
async function start(t) {
  const world = new World(t);
  await world.broker();
  const server = http.createServer((request, answer) => request.url === '/socket.io.min.js'
    ? answer.writeHead(200, { 'Content-Type': 'text/javascript' }).end(LIBRARY)
    : answer.writeHead(200, { 'Content-Type': 'text/html' }).end(PAGE));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  world.keep(() => new Promise((resolve) => (server.close(resolve), server.closeAllConnections())));
  world.origin = `http://127.0.0.1:${server.address().port}`;
  world.gateway = await world.sluice(ROUTES, `workers: 2\nsocketio: true\nweb: { origins: ["${world.origin}"] }\n`);
  world.context = await browser.newContext();
  world.keep(() => world.context.close());
  return world;
}

/** A tab with a client, which notes what it gets. */
async function open(world, url, options = {}) {
  const page = await world.context.newPage();
  await page.goto(world.origin);
  await page.evaluate(({ url, options }) => {
    const socket = (window.socket = window.io(url, { reconnectionDelay: 50, reconnectionDelayMax: 200, ...options }));
    window.got = [];
    window.story = [];
    socket.on('connect', () => {
      window.story.push('connect by ' + socket.io.engine.transport.name);
      socket.io.engine.on('upgrade', () => window.story.push('upgrade'));
      socket.io.engine.on('upgradeError', () => window.story.push('upgradeError'));
      if (!socket.recovered) socket.emit('subscribe', 'home/#');
    });
    socket.on('connect_error', (error) => window.story.push(`connect_error ${error.data?.code ?? error.message}`));
    socket.on('disconnect', (reason) => window.story.push('disconnect ' + reason));
    socket.on('message', ({ channel, data }) => window.got.push(channel + ' ' + JSON.stringify(data)));
  }, { url, options });
  world.keep(() => page.close().catch(() => {}));
  page.story = () => page.evaluate('story');
  page.got = () => page.evaluate('got');
  page.transport = () => page.evaluate('socket.io.engine.transport.name');
  page.ask = (...args) => page.evaluate((args) => window.socket.timeout(30_000).emitWithAck(...args), args);
  return page;
}

let rooms = 0;
/** It gets last values, publishes, and gets what others publish. */
async function works(world, page) {
  const room = `home/${++rooms}`;
  const numbers = Array.from({ length: 30 }, (_, i) => i);
  await world.publish('home/old', ['1'], { retain: true });
  await until(async () => (await page.got()).includes('home/old 1'), async () => `the last value: ${await page.story()}`);
  assert.deepEqual(await page.ask('publish', 'home/lamp', { on: true }), { status: 'published' });
  await world.publish(room, numbers.map(String));
  await until(async () => (await page.got()).includes(`${room} 29`), async () => `the last message: ${await page.story()}`);
  const got = await page.got();
  assert.deepEqual(got.filter((line) => line.startsWith(room)), numbers.map((i) => `${room} ${i}`));
  assert.ok(got.includes('home/lamp {"on":true}'));
}

/** An HTTP proxy that does with upgrades as it is told: (request, socket, head, target). */
async function proxy(world, upgrade) {
  const target = world.gateway.port;
  const sockets = new Set();
  const server = http.createServer((request, answer) => {
    const on = http.request({ port: target, host: '127.0.0.1', method: request.method, path: request.url, headers: request.headers }, (got) => {
      answer.writeHead(got.statusCode, got.headers);
      got.pipe(answer);
    });
    on.on('error', () => answer.destroy());
    answer.on('close', () => on.destroy());
    request.pipe(on);
  });
  server.upgrades = 0;
  server.on('upgrade', (request, socket, head) => {
    server.upgrades++;
    sockets.add(socket);
    socket.on('error', () => {});
    upgrade(request, socket, head);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  world.keep(() => new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
    for (const socket of sockets) socket.destroy();
  }));
  server.url = `http://127.0.0.1:${server.address().port}`;
  return server;
}
const refuse = (status, more = '') => (_, socket) => socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\n${more}Content-Length: 0\r\n\r\n`);

const UPGRADE = 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;';

test('behind nginx it upgrades', async () => {
  const world = shared;
  const { url } = await nginx(world, world.gateway.port, UPGRADE);
  const page = await open(world, url);
  await works(world, page);
  await until(async () => (await page.transport()) === 'websocket', async () => `the upgrade: ${await page.story()}`);
  await world.publish('home/after', ['1']);
  await until(async () => (await page.got()).includes('home/after 1'), 'what comes after it');
  assert.deepEqual((await page.story()).filter((line) => line !== 'upgrade'), ['connect by polling']);
});

const NGINX = {
  'without headers for upgrades': () => '',
  'which refuses them with 403': () => 'if ($http_upgrade) { return 403; }',
  'which refuses them with 400': () => 'if ($http_upgrade) { return 400; }',
  'as it is by default, with HTTP/1.0': (port) => `} location /socket.io/ { proxy_pass http://127.0.0.1:${port}; proxy_set_header Host $http_host;`,
};
for (const [name, location] of Object.entries(NGINX)) {
  test(`behind nginx ${name} it stays with polling`, async () => {
    const world = shared;
    const front = await nginx(world, world.gateway.port, location(world.gateway.port));
    const page = await open(world, front.url);
    await works(world, page);
    assert.equal(await page.transport(), 'polling');
    assert.deepEqual((await page.story()).filter((line) => line !== 'upgradeError'), ['connect by polling']);
  });
}

const PROXIES = {
  'that never answers upgrades': () => {},
  'that closes at upgrades': (_, socket) => socket.destroy(),
  'that answers upgrades with 200': refuse('200 OK'),
  'that answers upgrades with 502 after a while': (request, socket) => setTimeout(() => refuse('502 Bad Gateway')(request, socket), 300),
  'that wants a log-in for upgrades': refuse('407 Proxy Authentication Required', 'Proxy-Authenticate: Basic realm="x"\r\n'),
  'that accepts upgrades and passes nothing on': (request, socket) => {
    const key = request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      `Sec-WebSocket-Accept: ${createHash('sha1').update(key).digest('base64')}\r\n\r\n`);
    socket.resume();
  },
};
for (const [name, upgrade] of Object.entries(PROXIES)) {
  test(`behind a proxy ${name} it stays with polling`, async () => {
    const world = shared;
    const front = await proxy(world, upgrade);
    const page = await open(world, front.url);
    await until(() => front.upgrades, 'its try');
    await works(world, page);
    assert.equal(await page.transport(), 'polling');
    assert.equal((await page.story())[0], 'connect by polling');
    assert.ok(!(await page.story()).some((line) => line.startsWith('disconnect')), String(await page.story()));
  });
}

test('WebSocket first, with polling to fall back to', async () => {
  const world = shared;
  const front = await proxy(world, refuse('403 Forbidden'));
  const page = await open(world, front.url, { transports: ['websocket', 'polling'], tryAllTransports: true });
  await works(world, page);
  assert.equal(await page.transport(), 'polling');
  assert.deepEqual((await page.story()).slice(-1), ['connect by polling']);
});

test('a proxy that cuts WebSockets loses nothing', async () => {
  const world = shared;
  const tunnels = new Set();
  const front = await proxy(world, (request, socket, head) => {
    const to = net.connect(world.gateway.port, '127.0.0.1', () => {
      to.write(`${request.method} ${request.url} HTTP/1.1\r\n${Object.entries(request.headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`);
      to.write(head);
      to.pipe(socket).pipe(to);
    });
    to.on('error', () => {});
    to.on('close', () => socket.destroy());
    socket.on('close', () => (to.destroy(), tunnels.delete(socket)));
    tunnels.add(socket);
  });
  const page = await open(world, front.url);
  await until(async () => (await page.transport()) === 'websocket' && (await page.ask('hello')).status === 'hello', 'the upgrade');
  for (let cut = 0; cut < 3; cut++) {
    await world.publish('home/n', Array.from({ length: 20 }, (_, i) => String(cut * 20 + i)));
    for (const socket of tunnels) socket.destroy();
  }
  await until(async () => (await page.got()).includes('home/n 59'), async () => `the last message: ${await page.story()}`);
  assert.deepEqual((await page.got()).filter((line) => line.startsWith('home/n')), Array.from({ length: 60 }, (_, i) => `home/n ${i}`));
});

test('with a cookie of another site, and headers of its own', async (t) => {
  const secret = randomBytes(32).toString('hex');
  const b64 = (data) => Buffer.from(data).toString('base64url');
  const sign = (claims) => {
    const body = `${b64('{"alg":"HS256"}')}.${b64(JSON.stringify({ exp: Math.floor(Date.now() / 1000) + 600, ...claims }))}`;
    return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`;
  };
  const world = await start(t);
  const file = world.file('secret', secret);
  const gateway = await world.sluice(ROUTES, `socketio: true\nweb: { origins: ["${world.origin}"] }\n` +
    `auth: { jwt: { secret_file: ${file} }, cookie: session }\nroles: { owner: { subscribe: "#", publish: "#" } }\n`);
  world.gateway = gateway;
  await world.context.addCookies([{ name: 'session', value: sign({ sub: 'ann', roles: ['owner'] }), domain: '127.0.0.1', path: '/' }]);
  for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
    const page = await open(world, gateway.url, { transports, withCredentials: true, extraHeaders: { 'my-custom-header': 'abcd' } });
    await works(world, page);
    assert.equal((await page.ask('hello')).subject, 'ann');
    await page.close();
  }
  // Without withCredentials the browser keeps the cookie to itself: the gateway says what is missing, and that is final.
  const page = await open(world, gateway.url, { transports: ['polling'] });
  await until(async () => (await page.story()).includes('connect_error unauthorized'), async () => String(await page.story()));
  assert.equal(await page.evaluate('socket.active'), false);
});
